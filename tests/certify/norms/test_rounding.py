"""Constants and scalings that the bounds rest on."""

from fractions import Fraction

import numpy as np
import pytest

from keraslip.certify.norms.rounding import UNIT64, gamma
from keraslip.certify.norms.scaling import times_power, unscaled

pytestmark = pytest.mark.any_backend("norms of NumPy arrays")


@pytest.mark.parametrize("terms", [1, 2, 3, 100, 12345, 10**9, 10**15])
def test_gamma_is_rounded_up(terms):
    product = Fraction(terms) * Fraction(UNIT64)
    exact = product / (1 - product)
    assert exact <= Fraction(gamma(terms, UNIT64)) <= exact * (1 + Fraction(1, 10**14))


def test_gamma_ends_where_the_model_does():
    assert gamma(2.0**53, UNIT64) == np.inf


@pytest.mark.parametrize("exponent", [-1074, -1000, -3, 0, 7, 999, 1023])
def test_powers_of_two(exponent):
    assert times_power(1.0, exponent) == np.ldexp(1.0, exponent)
    assert unscaled(1.0, exponent) >= np.ldexp(1.0, exponent)


def test_unscaled_never_rounds_down():
    assert unscaled(1.4, -1074) == 2.0**-1073
    assert unscaled(1.0, -2000) > 0.0
    assert unscaled(0.0, -2000) == 0.0
    assert unscaled(1.0, 2000) == np.inf
    assert unscaled(np.inf, -5) == np.inf
