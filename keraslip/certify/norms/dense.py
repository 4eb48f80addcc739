"""Norm of a dense matrix."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keraslip.certify.norms.lanczos import top_eigenvalue
from keraslip.certify.norms.proof import prove_each
from keraslip.certify.norms.rounding import INFLATION, UNIT64, frobenius_bound, gamma, mixed_bound
from keraslip.certify.norms.scaling import exponent_of, is_finite, times_power, unscaled

#: Up to this size all eigenvalues are computed, so the level to prove is theirs to 1e-9.
_SMALL = 48
_EXACT = (1.0 + 1e-9, 1.0 + 1e-6, 1.001, 1.1)


@dataclass(frozen=True)
class Search:
    """How hard the top eigenvalue is looked for."""

    steps: int  #: Lanczos steps of the estimate.
    growth: tuple[float, ...]  #: Levels to prove, as multiples of the estimate.


#: For norms that are taken for every sample, and for those that are taken once for a model.
QUICK = Search(24, (1.003, 1.008, 1.03, 1.1, 1.3))
TIGHT = Search(120, (1.0 + 2e-5, 1.0005, 1.003, 1.03, 1.3))


def prove_level(
    estimate: float, prove: Callable[[float], bool], growth: tuple[float, ...]
) -> float:
    """Smallest tried level above an estimate that can be proved, infinite if none can."""
    for factor in growth:
        if prove(estimate * factor):
            return estimate * factor
    return math.inf


def gram_norm(gram: np.ndarray, gram_error: float = 0.0, search: Search = QUICK) -> float:
    """Proved upper bound of the norm of A, from its Gram matrix.

    Args:
        gram: Computed `A A^T`, shape `(n, n)`, real, finite, A's largest entry of magnitude near one.
        gram_error: Bound of `||fl(A A^T) - A A^T||_2`.
        search: How hard to look for the top eigenvalue.

    Returns:
        The bound, infinite where no proof succeeds.
    """
    exact = len(gram) <= _SMALL
    if exact:
        estimate = float(np.linalg.eigvalsh(gram)[-1])
    else:
        estimate = top_eigenvalue(gram.__matmul__, len(gram), search.steps)
    growth = _EXACT if exact else search.growth
    level = prove_level(estimate, lambda t: bool(prove_each(gram[None], t)[0]), growth)
    return math.sqrt(level + gram_error) * INFLATION


def dense_norm(matrix: np.ndarray, tight: bool = False) -> float:
    """Proved upper bound of the spectral norm of a dense matrix, within about 0.2 % of it.

    Args:
        matrix: Shape `(m, n)`.
        tight: Within about 1e-5, for a few times the price.

    Returns:
        The bound: it scales exactly with powers of two, is 0.0 for zero and empty matrices, and infinite
        if an entry is not finite.

    Reference:

    - Rump, 2006, Verification of positive definiteness, BIT 46, 433-452.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.size == 0:
        return 0.0
    if not is_finite(matrix):
        return math.inf
    exponent = exponent_of(matrix)
    matrix = times_power(matrix, -exponent)
    if not matrix.any():
        return 0.0
    flat = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    gram = flat @ flat.T
    magnitude = np.abs(matrix)
    rows, columns = magnitude.sum(axis=1).max(), magnitude.sum(axis=0).max()
    simple = mixed_bound(columns, rows, max(matrix.shape))
    # A Gram entry errs by gamma_m of the same sum of magnitudes, and || |A| ||^2 <= |A|_1 |A|_inf.
    gram_error = gamma(flat.shape[1], UNIT64) * simple**2 * INFLATION
    frobenius = frobenius_bound(float(np.trace(gram)), matrix.size)
    bound = gram_norm(gram, gram_error, TIGHT if tight else QUICK)
    return unscaled(min(bound, simple * INFLATION, frobenius * INFLATION), exponent)
