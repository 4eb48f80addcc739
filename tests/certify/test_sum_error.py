"""The error of one sum, in the order that is worst for it."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from keraslip.certify.rounding import gamma, sum_error
from tests.certify.test_rounding import rounded


def computed(terms, bits):
    total = 0.0
    for term in terms:
        total = float(rounded(np.array(total + term), bits))
    return total


def allowed(terms, bits, one_sum=True):
    sums, products = sum_error(len(terms), 2.0**-bits, one_sum)
    positive, negative = (float(np.maximum(sign * terms, 0).sum()) for sign in (1, -1))
    return sums * max(positive, negative) + products * (positive + negative)


def worst(count, bits):
    """One, then half units in the last place that are all lost, then what the sum should have reached."""
    lost = np.full(count, 2.0**-bits)
    return np.concatenate([[1.0], lost, [-1.0 - count * 2.0**-bits]])


@pytest.mark.parametrize(("bits", "count"), [(8, 20), (11, 40), (24, 200)])
def test_the_worst_order_is_within_the_bound_and_near_it(bits, count):
    terms = worst(count, bits)
    off = abs(computed(terms, bits) - terms.sum())
    assert off <= allowed(terms, bits)
    # A bound of half the size would be wrong.
    assert off > 0.5 * allowed(terms, bits)


@pytest.mark.parametrize("bits", [11, 24])
def test_half_of_what_the_terms_alone_allow(bits):
    terms = worst(40, bits)
    by_terms = gamma(len(terms) + 2, 2.0**-bits) * np.abs(terms).sum()
    assert allowed(terms, bits) < 0.6 * by_terms
    assert allowed(terms, bits, one_sum=False) >= by_terms


@hypothesis.given(st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=60), st.data())
def test_any_order(terms, data):
    """Also as a tree: neighbours are added until one number is left."""
    terms = rounded(np.array(data.draw(st.permutations(terms))), 8)
    limit = allowed(terms, 8)
    assert abs(computed(terms, 8) - terms.sum()) <= limit
    level = list(terms)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [float(rounded(np.array(a + b), 8)) for a, b in pairs] + odd
    assert abs(level[0] - terms.sum()) <= limit


def test_exact_arithmetic_has_no_error():
    assert sum_error(100, 0.0) == (0.0, 0.0)
