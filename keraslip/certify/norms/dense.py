"""Norm of a dense matrix."""

import math
from collections.abc import Callable

import numpy as np

from keraslip.certify.norms.lanczos import top_eigenvalue
from keraslip.certify.norms.proof import prove_each
from keraslip.certify.norms.rounding import (
    SLACK,
    exponent_of,
    frobenius_bound,
    gamma,
    is_finite,
    mixed_bound,
    times_power,
    unscaled,
)

#: Up to this size all eigenvalues are computed, so the level to prove is theirs to 1e-9.
_SMALL = 48
_STEPS = 24
_EXACT = (1.0 + 1e-9, 1.0 + 1e-6, 1.001, 1.1)
_GROWTH = (1.003, 1.008, 1.03, 1.1, 1.3)


def prove_level(estimate: float, prove: Callable[[float], bool], exact: bool) -> float:
    """Smallest tried level above an estimate that can be proved, infinite if none can."""
    for growth in _EXACT if exact else _GROWTH:
        if prove(estimate * growth):
            return estimate * growth
    return math.inf


def gram_norm(gram: np.ndarray, gram_error: float = 0.0) -> float:
    """Proved upper bound of the norm of A, from its Gram matrix.

    Args:
        gram: Computed `A A^T`, shape `(n, n)`, real, finite, A's largest entry of magnitude near one.
        gram_error: Bound of `||fl(A A^T) - A A^T||_2`.

    Returns:
        The bound, infinite where no proof succeeds.
    """
    exact = len(gram) <= _SMALL
    if exact:
        estimate = float(np.linalg.eigvalsh(gram)[-1])
    else:
        estimate = top_eigenvalue(gram.__matmul__, len(gram), _STEPS)
    level = prove_level(estimate, lambda t: bool(prove_each(gram[None], t)[0]), exact)
    return math.sqrt(level + gram_error) * SLACK


def dense_norm(matrix: np.ndarray) -> float:
    """Proved upper bound of the spectral norm of a dense matrix, within about 0.2 % of it.

    Args:
        matrix: Shape `(m, n)`.

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
    gram_error = gamma(flat.shape[1]) * simple**2 * SLACK
    frobenius = frobenius_bound(float(np.trace(gram)), matrix.size)
    return unscaled(min(gram_norm(gram, gram_error), simple * SLACK, frobenius * SLACK), exponent)
