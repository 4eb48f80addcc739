"""Lanczos' tridiagonal matrix with full reorthogonalisation: estimates from below."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

Operator = Callable[[np.ndarray], np.ndarray]

#: A residual below this share of the largest entry so far says that the space is invariant.
BREAKDOWN = 1e-10


def lanczos(apply: Operator, start: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal and off-diagonal of the tridiagonal matrix of a symmetric operator.

    Returns:
        `alpha` and `beta` of equal length: `beta[j]` is the norm of the residual after step j.
    """
    basis = np.empty((min(steps, start.size), start.size))
    alpha: list[float] = []
    beta: list[float] = []
    vector = start / np.linalg.norm(start)
    for step in range(len(basis)):
        basis[step] = vector
        residual = apply(vector)
        alpha.append(float(vector @ residual))
        known = basis[: step + 1]
        for _ in range(2):  # once is not enough, twice is
            residual = residual - known.T @ (known @ residual)
        beta.append(float(np.linalg.norm(residual)))
        if not beta[-1] > BREAKDOWN * max(np.max(np.abs(alpha)), np.max(beta)):
            break
        vector = residual / beta[-1]
    return np.array(alpha), np.array(beta)


def largest_ritz(alpha: np.ndarray, beta: np.ndarray) -> float:
    """Largest eigenvalue of the tridiagonal matrix of `lanczos`."""
    last = len(alpha) - 1
    top = eigvalsh_tridiagonal(alpha, beta[:-1], select="i", select_range=(last, last))
    return float(top[0])


def top_eigenvalue(apply: Operator, size: int, steps: int) -> float:
    """Estimate of the largest eigenvalue, never above it but for rounding.

    The start is always the same: what it misses, the proof that follows finds.
    """
    start = np.random.default_rng(0).standard_normal(size)
    return largest_ritz(*lanczos(apply, start, steps))
