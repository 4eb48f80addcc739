"""Norm of a sparse matrix."""

import math
from typing import Any

import numpy as np
from scipy import sparse

from keraslip.certify.norms.dense import QUICK, TIGHT, Search, gram_norm, prove_level
from keraslip.certify.norms.lanczos import top_eigenvalue
from keraslip.certify.norms.proof import prove_band_below
from keraslip.certify.norms.rounding import INFLATION, UNIT64, frobenius_bound, gamma, mixed_bound
from keraslip.certify.norms.scaling import exponent_of, is_finite, times_power, unscaled
from keraslip.certify.norms.sparse_gram import find_blocks, lower_gram

#: Entries of the largest band that is built, 1 GiB; the proof needs as much again.
_LIMIT = 2**27


def sparse_norm(matrix: Any, tight: bool = False) -> float:
    """Proved upper bound of the spectral norm of a sparse matrix, within about 0.2 % of it.

    The Gram matrix is built on the side with fewer units that are not zero. It is a band where units that
    share an entry are near each other, as in `conv_matrix`; the cost grows with the bandwidth squared.

    Args:
        matrix: Any `scipy.sparse` matrix.
        tight: Within about 1e-5, for a few times the price.

    Returns:
        The bound: it scales exactly with powers of two, is 0.0 for zero and empty matrices, and infinite
        if an entry is not finite. `sqrt(|A|_1 |A|_inf)` or the Frobenius norm where the Gram matrix would
        not fit into memory.

    Reference:

    - Rump, 2006, Verification of positive definiteness, BIT 46, 433-452.
    """
    tall = sparse.csr_matrix(matrix, dtype=np.float64)
    if not tall.has_canonical_format:
        tall = tall.copy()  # the arrays may be the caller's
        tall.sum_duplicates()
    if tall.nnz == 0:
        return 0.0
    if not is_finite(tall.data):
        return math.inf
    exponent = exponent_of(tall.data)
    tall.data = times_power(tall.data, -exponent)
    tall = _without_zeros(tall)
    if tall.nnz == 0:
        return 0.0
    if tall.shape[0] < tall.shape[1]:
        tall = tall.T.tocsr()
    return unscaled(_norm(tall, TIGHT if tight else QUICK), exponent)


def _without_zeros(matrix: Any) -> Any:
    """Drops rows and columns that are zero. Stored zeros elsewhere stay: they keep patterns equal."""
    magnitude = abs(matrix)
    rows = np.flatnonzero(np.asarray(magnitude.sum(axis=1)).ravel())
    columns = np.flatnonzero(np.asarray(magnitude.sum(axis=0)).ravel())
    if len(rows) < matrix.shape[0]:
        matrix = matrix[rows]
    return matrix[:, columns] if len(columns) < matrix.shape[1] else matrix


def _norm(matrix: Any, search: Search) -> float:
    """Bound for a `csr_matrix` with columns to form the Gram matrix of, scaled, without zero rows."""
    magnitude = abs(matrix)
    columns, rows = magnitude.sum(axis=0).max(), magnitude.sum(axis=1).max()
    mixed = mixed_bound(float(columns), float(rows), max(matrix.shape))
    squares = float(np.square(matrix.data).sum())
    simple = min(mixed, frobenius_bound(squares, matrix.nnz)) * INFLATION
    store = lower_gram(find_blocks(matrix), _LIMIT)
    if store is None:
        return simple
    # An entry of the Gram matrix sums at most as many products as the column has entries.
    terms = int(np.bincount(matrix.indices).max())
    error = gamma(terms, UNIT64) * mixed**2 * INFLATION
    if store.band is None:
        return min(gram_norm(store.symmetric(), error, search), simple)
    band = store.band
    estimate = top_eigenvalue(lambda x: matrix.T @ (matrix @ x), matrix.shape[1], search.steps)
    level = prove_level(estimate, lambda t: prove_band_below(band, t), search.growth)
    return min(math.sqrt(level + error) * INFLATION, simple)
