"""Rounding: what floating point may have added, always upwards."""

from dataclasses import dataclass

import numpy as np

#: Unit roundoff of the executed network and of the certifier's own arithmetic.
FLOAT32, FLOAT64 = 2.0**-24, 2.0**-53
#: float32 flushes smaller numbers to zero, and overflows above the largest.
SMALLEST, LARGEST = 2.0**-126, (2.0 - 2.0**-23) * 2.0**127
#: Covers the rounding of the few float64 operations between two inflations.
INFLATION = 1.0 + 1e-10


@dataclass(frozen=True)
class Execution:
    """How the network is executed.

    Args:
        unit: Unit roundoff; 0 for exact arithmetic.
        smallest: Magnitude below which numbers may be flushed to zero.
        largest: Magnitude above which results overflow.
    """

    unit: float
    smallest: float
    largest: float = np.inf

    @classmethod
    def of(cls, arithmetic: str) -> "Execution":
        """The execution in `"float32"`, or the ideal network (`"float64"`)."""
        return cls(FLOAT32, SMALLEST, LARGEST) if arithmetic == "float32" else cls(0.0, 0.0)


def gamma(terms: float, unit: float) -> float:
    """`n u / (1 - n u)`: relative error of a sum of n products in any order, FMA allowed.

    Args:
        terms: Number n of roundings on the longest path.
        unit: Unit roundoff u.

    Reference:

    - Higham, Accuracy and Stability of Numerical Algorithms, 2002, lemma 3.1.
    """
    return terms * unit / (1.0 - terms * unit) if terms * unit < 1.0 else np.inf


def sum_error(terms: float, unit: float, one_sum: bool = True) -> tuple[float, float]:
    """How far a computed sum of n products and a bias can be from the exact one, in any order, FMA allowed.

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


def up(x: np.ndarray) -> np.ndarray:
    """A non-negative result of a few float64 operations, rounded up."""
    return x * INFLATION


def l2(x: np.ndarray) -> np.ndarray:
    """Euclidean norm of every sample, `(batch, ...)` to `(batch,)`, rounded up."""
    flat = x.reshape(len(x), -1)
    # einsum adds in any order: relative error far below the inflation for every size that fits memory.
    return up(np.sqrt(np.einsum("bi,bi->b", flat, flat)))


def per_sample(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """`(batch,)` reshaped to broadcast against `(batch, ...)`."""
    return x.reshape(-1, *(1,) * (like.ndim - 1))
