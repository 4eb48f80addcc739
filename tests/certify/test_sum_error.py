"""The error of one sum, in the order that is worst for it."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from keraslip.certify.bound.margins import _difference_norms
from keraslip.certify.norms.rounding import gamma, inner, l2, sum_error
from keraslip.linear import ConvGeometry
from tests.certify.operators import conv_operator, dense_operator
from tests.certify.test_rounding import rounded

pytestmark = pytest.mark.any_backend("NumPy alone")


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


#: The sum of so many squares may be off by more than what covers a few operations.
LONG = 4_000_000


def long_sums():
    ones = np.ones((1, LONG))
    dense = dense_operator(ones.T, (LONG,))
    image = conv_operator(ones.reshape(1, 1, LONG, 1), (1, 1, LONG), ConvGeometry())
    apart = _difference_norms(np.concatenate([ones, 0 * ones]), np.zeros(1, int), None, True)
    weighed = _difference_norms(np.concatenate([ones, 0 * ones]), np.zeros(1, int), ones, True)
    return {
        "l2": l2(ones), "inner": np.sqrt(inner(ones, ones)),
        "rows": dense.row_norms(), "rows with columns": dense.row_norms(ones),
        "filters": image.row_norms(), "difference": apart[0, 1], "with columns": weighed[0, 1],
        "norm of |W|": dense.absolute_norm, "of a filter": image.absolute_norm,
        "row sums": np.sqrt(dense.row_sums),
    }  # fmt: skip


def test_long_sums_are_inflated_by_their_length():
    """Added up one after the other, half units could all be lost: u for every term."""
    worst = np.sqrt(LONG) * (1.0 + 0.49 * LONG * 2.0**-53)
    short = np.sqrt(LONG) * (1.0 + 2e-9)
    for name, found in long_sums().items():
        assert worst < np.max(found) < short, name
