"""Maps as sparse matrices, and products of two of them."""

from typing import Any

import numpy as np
from scipy import sparse

from keraslip.certify.operators.fixed import ProvedMean, ProvedPool
from keraslip.certify.operators.kernels import (
    ProvedAdjoint,
    ProvedConv,
    ProvedDense,
    ProvedDiagonal,
)
from keraslip.certify.operators.proved import Proved, prove

#: Coefficients of a matrix, products that make one, and coefficients of one whose norm is proved, at most.
_WRITTEN_OUT, _PRODUCTS, PROVED = 4_000_000, 2**24, 1_000_000
#: Coefficients of magnitudes between these, or zero, have products and squares that lose nothing that counts.
_LEAST, _MOST = 2.0**-190, 2.0**200


def product_of(outer: Proved, inner: Proved) -> Any:
    """The matrix of `outer` after `inner`, computed in float64; `None` where that is large, or extreme."""
    first, last = matrix_of(inner), matrix_of(outer)
    if first is None or last is None:
        return None
    if np.diff(first.indptr)[last.indices].sum() > _PRODUCTS:
        return None
    if not (_is_plain(first) and _is_plain(last)):
        return None
    found = last @ first
    found.sort_indices()
    return found if found.nnz <= _WRITTEN_OUT else None


def sum_of(parts: list[Proved]) -> Any:
    """The matrix of a sum of maps, computed in float64; `None` where that is large, or extreme."""
    found = None
    for part in parts:
        matrix = matrix_of(part)
        if matrix is None or not _is_plain(matrix):
            return None
        found = matrix if found is None else found + matrix
        if found.nnz > _WRITTEN_OUT:
            return None
    return found


def roundings_of(operator: Proved) -> int:
    """How often a coefficient of `matrix_of` was rounded on the way, at most, relative to its magnitudes.

    A row of a product may have far more coefficients than the sums of both maps have terms: sums over it
    are as long as the rows of the outer matrix.
    """
    if operator.copies:
        return 0
    if hasattr(operator, "product_roundings"):
        return int(operator.product_roundings)
    if isinstance(operator, ProvedAdjoint):
        return roundings_of(prove(operator.map.of))
    return 2  # shares of a pool are products


def longest_row(operator: Proved) -> int:
    """How many coefficients a row of `matrix_of` has at most."""
    return int(np.diff(matrix_of(operator).indptr).max(initial=0))


def _is_plain(matrix: Any) -> bool:
    values = np.abs(matrix.data)
    # NaN is not plain.
    return bool(((values == 0.0) | ((values > _LEAST) & (values < _MOST))).all())


def rows_of(matrix: Any) -> np.ndarray:
    """Norms of the rows of a sparse matrix, as computed."""
    return np.asarray(np.sqrt(matrix.multiply(matrix).sum(axis=1)))


def matrix_of(operator: Proved) -> Any:
    """A map as a `csr_array`, or `None` where that is large or its kind is another."""
    if operator.copies:
        origin = origins(operator)
        some = np.flatnonzero(origin >= 0)
        shape = operator.outputs, operator.inputs
        return sparse.csr_array((np.ones(len(some)), (some, origin[some])), shape=shape)
    if hasattr(operator, "product"):
        return operator.product
    if operator.terms * operator.outputs > _WRITTEN_OUT:
        return None
    if isinstance(operator, ProvedAdjoint):
        inner = matrix_of(prove(operator.map.of))
        return None if inner is None else sparse.csr_array(inner.T)
    if isinstance(operator, ProvedConv):
        return sparse.csr_array(operator.matrix)
    if isinstance(operator, ProvedDiagonal):
        scale = np.broadcast_to(operator.map.scale, (1, *operator.in_shape))
        return sparse.csr_array(sparse.diags(scale.reshape(-1)))
    if isinstance(operator, ProvedDense):
        positions = sparse.eye_array(operator.outputs // operator.out_shape[-1])
        return sparse.csr_array(sparse.kron(positions, operator.map.kernel.T))
    channels = sparse.eye_array(operator.in_shape[-1])
    if isinstance(operator, ProvedPool):
        high, wide = operator.sides
        return sparse.csr_array(sparse.kron(high.T, sparse.kron(wide.T, channels)))
    if isinstance(operator, ProvedMean):
        share = np.full((1, operator.map.window), 1.0 / operator.map.window)
        return sparse.csr_array(sparse.kron(share, channels))
    return None


def origins(operator: Proved) -> np.ndarray:
    """The flat place that every entry of a map that copies comes from; -1 for zeros."""
    places = np.arange(1.0, operator.inputs + 1.0).reshape(1, *operator.in_shape)
    return np.asarray(operator.forward(places).reshape(-1).astype("int64") - 1)
