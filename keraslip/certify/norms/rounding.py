"""What float64 rounding can do, and exact scaling by powers of two."""

import math
from typing import Any

import numpy as np

#: Unit roundoff of float64.
UNIT = 2.0**-53

#: Covers a handful of roundings and every underflow of numbers scaled to one; last step of each bound.
SLACK = 1.0 + 1e-10


def gamma(terms: float) -> float:
    """Relative error of an inner product of `terms` terms, summed in any order, rounded up.

    Args:
        terms: Number of roundings that one result can have passed through.

    Returns:
        `n u / (1 - n u)`, infinite where the model of rounding errors ends.

    Reference:

    - Higham, 2002, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    product = terms * UNIT
    return product / (1.0 - product) * (1.0 + 8.0 * UNIT) if product < 0.5 else math.inf


def is_finite(values: np.ndarray) -> bool:
    """Whether every entry is finite, without a temporary array."""
    # A sum may overflow although its terms are finite; extremes cannot, and both carry NaN.
    return bool(np.isfinite(values.max()) and np.isfinite(values.min()))


def exponent_of(values: np.ndarray) -> int:
    """The `e` for which the largest magnitude is in `[2^(e-1), 2^e)`; 0 if all are zero."""
    return int(np.frexp(max(values.max(), -values.min()))[1])


def times_power(values: Any, exponent: int) -> Any:
    """`values * 2^exponent`, exact but for underflow."""
    if abs(exponent) < 1000:
        return values * math.ldexp(1.0, exponent)
    half = exponent // 2  # the power itself may not be a float64
    return values * math.ldexp(1.0, half) * math.ldexp(1.0, exponent - half)


def unscaled(bound: float, exponent: int) -> float:
    """`bound * 2^exponent`, rounded up where the result is subnormal."""
    try:
        result = math.ldexp(bound, exponent)
    except OverflowError:
        return math.inf
    # Only subnormal results round, to the nearest: one step up is above.
    return math.nextafter(result, math.inf) if 0.0 < bound and result < 2.0**-1022 else result


def mixed_bound(column_sum: float, row_sum: float, terms: int) -> float:
    """Bound `sqrt(|A|_1 |A|_inf)` of the norm, from computed sums of at most `terms` magnitudes."""
    return math.sqrt(column_sum) * math.sqrt(row_sum) * (1.0 + 2.0 * gamma(terms + 4))


def frobenius_bound(squares: float, terms: int) -> float:
    """Frobenius norm rounded up, from the computed sum of `terms` squares."""
    return math.sqrt(squares) * (1.0 + 2.0 * gamma(terms + 4))
