"""Rounding: what floating point may have added, always upwards."""

import numpy as np

#: Unit roundoff of the executed network and of the certifier's own arithmetic.
FLOAT32, FLOAT64 = 2.0**-24, 2.0**-53
#: float32 flushes smaller numbers to zero, and overflows above the largest.
SMALLEST, LARGEST = 2.0**-126, (2.0 - 2.0**-23) * 2.0**127
#: Covers the rounding of the few float64 operations between two inflations.
INFLATION = 1.0 + 1e-10


def gamma(terms: float, unit: float) -> float:
    """`n u / (1 - n u)`: relative error of a sum of n products in any order, FMA allowed.

    Args:
        terms: Number n of roundings on the longest path.
        unit: Unit roundoff u.

    Reference:

    - Higham, Accuracy and Stability of Numerical Algorithms, 2002, lemma 3.1.
    """
    return terms * unit / (1.0 - terms * unit) if terms * unit < 1.0 else np.inf


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
