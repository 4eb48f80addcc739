"""Proof that t I - G is positive semidefinite, by a Cholesky factorisation in floating point.

Where the factorisation of a Hermitian B of size n runs to completion, its factor R is exact for a
matrix near B: |R^H R - B|_ij <= gamma sqrt(b_ii b_jj) / (1 - gamma), gamma = gamma_(n+1) in any order of
summation. The right side has rank one and norm gamma / (1 - gamma) * trace(B), so no eigenvalue of B lies
below minus that. Factor B = (t - c) I - G with c larger than that and than the roundings of B's diagonal:
success proves t I - G >= 0. Failure proves nothing.

gamma_(n+2) leaves room for a reciprocal in place of a division, and complex numbers count four times: a
complex product of n terms is two real ones of 2 n terms, each good to gamma_2n, together within gamma_3n.

This holds for IEEE arithmetic rounded to nearest, with or without fused multiply-add, in blocks and threads
of any kind; not for products by Strassen's method or emulated from shorter numbers.

Reference:

- Rump, 2006, Verification of positive definiteness, BIT 46, 433-452.
- Higham, 2002, Accuracy and Stability of Numerical Algorithms, theorems 10.3 to 10.5.
"""

import numpy as np
from scipy.linalg import LinAlgError, cholesky_banded, lapack

from keraslip.certify.norms.rounding import UNIT64, gamma


def shift(diagonal: np.ndarray, t: float, complex_numbers: bool = False) -> np.ndarray:
    """The c of the proof for real diagonals `(..., n)` of G, rounded up, `(...)`.

    Not finite where the proof cannot succeed.
    """
    size = diagonal.shape[-1]
    error = gamma(4 * (size + 2) if complex_numbers else size + 2, UNIT64)
    if not error < 0.01:
        return np.full(diagonal.shape[:-1], np.inf)
    rest = np.abs(t - diagonal)
    # c > 0, so the trace of what is factored is at most that of t I - G.
    trace = rest.sum(axis=-1)
    # t - c rounds, and so does subtracting the diagonal: 2 u of at most the larger of t and rest.
    rounding = 4.0 * UNIT64 * np.maximum(rest.max(axis=-1), t)
    return np.asarray(1.01 * error / (1.0 - error) * trace + rounding)


def prove_each(gram: np.ndarray, t: float) -> np.ndarray:
    """Whether `t I - G` is proved positive semidefinite, for every matrix of a batch; False: not proved.

    Matrices `(k, n, n)` are Hermitian, real or complex, finite, and of magnitude near one.
    """
    diagonals = np.ascontiguousarray(np.diagonal(gram, axis1=-2, axis2=-1).real)
    shifts = shift(diagonals, t, np.iscomplexobj(gram))
    factor = lapack.zpotrf if np.iscomplexobj(gram) else lapack.dpotrf
    proved = np.zeros(len(gram), dtype=bool)
    for index, (matrix, diagonal, c) in enumerate(zip(gram, diagonals, shifts, strict=True)):
        shifted = -matrix
        np.fill_diagonal(shifted, (t - c) - diagonal)
        # The transpose of a Hermitian matrix has the same eigenvalues, and its memory as LAPACK wants it.
        root, info = factor(shifted.T, lower=1, overwrite_a=1, clean=0)
        proved[index] = info == 0 and np.isfinite(np.diagonal(root)).all()
    return proved


def prove_band_below(band: np.ndarray, t: float) -> bool:
    """The same for one real matrix in LAPACK's lower band storage.

    Args:
        band: Row i holds the i-th diagonal below the main one, shape `(bandwidth + 1, n)`.
        t: Level to prove.
    """
    c = float(shift(band[0], t))
    shifted = -band
    shifted[0] = (t - c) - band[0]
    try:
        root = cholesky_banded(shifted, overwrite_ab=True, lower=True, check_finite=False)
    except LinAlgError:
        return False
    return bool(np.isfinite(root[0]).all())
