"""Rounding: what floating point may have added, always upwards.

Tags such as (P2) are those of the equations in docs/proofs.md.
"""

import math
from dataclasses import dataclass

import numpy as np

#: Unit roundoff of the executed network and of the certifier's own arithmetic (P1).
UNIT32, UNIT64 = 2.0**-24, 2.0**-53
#: float32 flushes smaller numbers to zero (P7), and overflows above the largest.
SMALLEST, LARGEST = 2.0**-126, (2.0 - 2.0**-23) * 2.0**127
#: The smallest normal number of float64. A positive bound is never below it (P9).
TINY = 2.0**-1022
#: Sums of squares or products between these have lost nothing that counts.
_LOW, _HIGH = 2.0**-900, 2.0**1000
#: Covers the rounding of the few float64 operations between two inflations (P8).
INFLATION = 1.0 + 1e-10


@dataclass(frozen=True)
class Execution:
    """How the network is executed."""

    unit: float  #: Unit roundoff; 0 for exact arithmetic.
    smallest: float  #: Magnitude below which numbers may be flushed to zero.
    largest: float = np.inf  #: Magnitude above which results overflow.

    @classmethod
    def of(cls, arithmetic: str) -> "Execution":
        """The execution in `"float32"`, or the ideal network (`"float64"`)."""
        return cls(UNIT32, SMALLEST, LARGEST) if arithmetic == "float32" else cls(0.0, 0.0)


def gamma(terms: float, unit: float) -> float:
    """`n u / (1 - n u)`, rounded up: relative error of a sum of n products in any order, FMA allowed (P2).

    Args:
        terms: Number n of roundings on the longest path.
        unit: Unit roundoff u.

    Returns:
        The bound; infinite where the model of rounding errors ends.

    Reference:

    - Higham, Accuracy and Stability of Numerical Algorithms, 2002, lemma 3.1.
    """
    product = terms * unit
    return product / (1.0 - product) * (1.0 + 8.0 * UNIT64) if product < 0.5 else math.inf


def sum_error(terms: float, unit: float, one_sum: bool = True) -> tuple[float, float]:
    """How far a computed sum of n products and a bias can be from the exact one, in any order (P2).

    With P the sum of the positive and N that of the negative terms' magnitudes, no partial sum leaves
    [-N, P], and each of the n additions errs by u times its result. So the larger of P and N counts, which is
    half of `P + N + |sum|`, where a bound by the terms alone would count P + N.

    Args:
        terms: Number n of products.
        unit: Unit roundoff u.
        one_sum: Whether it is a single sum. Sums of computed sums can cancel what these rounded.

    Returns:
        Factors of `max(P, N)` and of `P + N`.

    Reference:

    - Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 4.2, for the error of each order
      as a sum over its partial sums.
    """
    plain = gamma(terms + 2, unit)
    if not one_sum:
        return 0.0, plain
    # A computed partial sum is itself off by gamma (P + N) <= 2 gamma max(P, N); products round once.
    return plain * (1.0 + 2.0 * plain), gamma(2, unit)


def inflation(terms: float = 0) -> float:
    """What a non-negative float64 sum of so many terms, in any order, and a few operations may lose (P8)."""
    return INFLATION + gamma(terms, UNIT64)


def up(x: np.ndarray, terms: float = 0) -> np.ndarray:
    """A non-negative result of a few float64 operations, and a sum of so many terms, rounded up (P8)."""
    return x * inflation(terms)


def times(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """Product of two non-negative bounds, good to one rounding: it is zero only if one of them is (P9).

    A product below float64's normal numbers would be rounded to fewer digits, or to zero, and a bound that
    is multiplied by large numbers later must not have shrunk. Zero times infinity stays NaN.
    """
    product = np.asarray(a * b)
    low = product < TINY  # false for NaN
    if low.any():
        low = low & (a != 0.0) & (b != 0.0)
        # Zeros of a mask are the rule, vanished products are not.
        if low.any():
            return np.where(low, TINY, product)
    return product


def raised(x: float) -> float:
    """A bound that is no subnormal number, rounded up (P9)."""
    return TINY if 0.0 < x < TINY else x


def inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`sum a b` of every sample, of non-negative arrays `(batch, ...)`, to `(batch,)`, rounded up.

    The second one may have one row for all.
    """
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    total = np.einsum("bi,bi->b", a, b) if len(a) == len(b) else a @ b[0]
    small = np.flatnonzero(~((total > _LOW) & (total < _HIGH)))
    total = up(total, a.shape[1])
    # Sums over nothing but zeros are exact.
    small = small[(a[small] != 0.0).any(axis=1) | (total[small] != 0.0)]
    if len(small):
        total[small] = _inner_of_extremes(a[small], np.broadcast_to(b, a.shape)[small])
    return total


def _inner_of_extremes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The same where products may be too small, or squares too large: both are scaled first."""
    (a, a_power), (b, b_power) = _scaled(a), _scaled(b)
    total = up(np.einsum("bi,bi->b", a, b), a.shape[1])
    # Products that vanished are smaller than TINY each.
    some = ((a != 0.0) & (b != 0.0)).any(axis=1)
    total = total + a.shape[1] * TINY * some
    return times(times(total, a_power), b_power)


def _scaled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows with their largest entries in [1, 2), and the powers of two that they were divided by."""
    exponent = np.frexp(np.abs(x).max(axis=1, initial=0.0))[1] - 1
    # What becomes subnormal is negligible beside the largest entry, but must not become zero.
    scaled = np.ldexp(x, -exponent[:, None])
    scaled = np.where((x != 0.0) & (np.abs(scaled) < TINY), TINY, scaled)
    return scaled, np.maximum(np.ldexp(1.0, exponent), TINY)


def l2(x: np.ndarray) -> np.ndarray:
    """Euclidean norm of every sample, `(batch, ...)` to `(batch,)`, rounded up."""
    flat = x.reshape(len(x), -1)
    squares = np.einsum("bi,bi->b", flat, flat)
    extreme = np.flatnonzero(~((squares > _LOW) & (squares < _HIGH)))
    extreme = extreme[(flat[extreme] != 0.0).any(axis=1)]
    norms = up(np.sqrt(squares), flat.shape[1])
    if len(extreme):
        scaled, power = _scaled(flat[extreme])
        length = up(np.sqrt(np.einsum("bi,bi->b", scaled, scaled)), flat.shape[1])
        norms[extreme] = times(length, power)
    return norms


def scaled_squares(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squares of a matrix' entries, each row divided by a power of two, and these powers, `(rows,)`.

    No entry but zero has a square of zero, so that sums of some of the squares are upper bounds; their roots
    are to be multiplied by the powers.
    """
    scaled, power = _scaled(matrix)
    squares = np.square(scaled)
    return np.where((scaled != 0.0) & (squares < _LOW), _LOW, squares), power


def per_sample(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """`(batch,)` reshaped to broadcast against `(batch, ...)`."""
    return x.reshape(-1, *(1,) * (like.ndim - 1))


def mixed_bound(column_sum: float, row_sum: float, terms: int) -> float:
    """Bound `sqrt(|A|_1 |A|_inf)` of the norm, from computed sums of at most `terms` magnitudes."""
    return math.sqrt(column_sum) * math.sqrt(row_sum) * (1.0 + 2.0 * gamma(terms + 4, UNIT64))


def frobenius_bound(squares: float, terms: int) -> float:
    """Frobenius norm rounded up, from the computed sum of `terms` squares."""
    return math.sqrt(squares) * (1.0 + 2.0 * gamma(terms + 4, UNIT64))
