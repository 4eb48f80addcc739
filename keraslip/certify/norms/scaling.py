"""Exact scaling by powers of two, and whether numbers are finite."""

import math
from typing import Any

import numpy as np


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
