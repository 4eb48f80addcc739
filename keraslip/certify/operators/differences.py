"""Norms of differences of two rows of a map: how far two of its outputs move apart."""

from typing import Any

import numpy as np
from scipy import sparse

from keraslip.certify.norms.rounding import times, up
from keraslip.certify.operators.chain import Chain
from keraslip.certify.operators.kernels import ProvedConv, ProvedDense
from keraslip.certify.operators.matrices import origins
from keraslip.certify.operators.proved import Proved
from keraslip.lockless import cached_property

#: Coefficients of all differences of a map that are written out, at most.
WRITTEN = 4_000_000
#: Differences of magnitudes between these, or of zero, have squares that lose nothing that counts.
_LEAST, _MOST = 2.0**-390, 2.0**500


class Differences:
    """Rows of a map, at flat places `first`, less those at `second`, with at most `budget` coefficients."""

    def __init__(
        self, operator: Proved, first: np.ndarray, second: np.ndarray, budget: int = WRITTEN
    ) -> None:
        self.operator, self.first, self.second = operator, first, second
        #: Squares of differences, rounding of each row, and the difference that belongs to every pair.
        self._squares: Any = None
        self._error = 0.0
        self._which: Any = slice(None)
        apart: Any
        found = _filters(operator, first, second)
        #: Whether columns are read: whole filters stand for rows at every position.
        self._reads = found is None
        if found is not None:
            apart, self._which = found
        else:
            rows = _rows(operator, np.concatenate([first, second]), budget)
            if rows is None:
                return
            apart, self._error = rows[0][: len(first)] - rows[0][len(first) :], 2.0 * rows[1]
        values = np.abs(apart.data if sparse.issparse(apart) else apart)
        # NaN is not plain.
        if ((values == 0.0) | ((values > _LEAST) & (values < _MOST))).all():
            self._squares = apart.multiply(apart) if sparse.issparse(apart) else np.square(apart)

    def norms(self, columns: np.ndarray | None) -> np.ndarray:
        """Upper bounds of `||(W_j - W_k) diag(columns)||_2`, `(batch, pairs)` or `(1, pairs)`.

        Weights of the columns are in [0, 1], or `None`; they may be ignored.
        """
        if columns is None or (self._reads is False and self._squares is not None):
            return self._whole
        return self._found(columns)

    @cached_property
    def _whole(self) -> np.ndarray:
        return self._found(None)

    def _found(self, columns: np.ndarray | None) -> np.ndarray:
        if self._squares is None:
            return self._sums(columns)
        inputs = self._squares.shape[1]
        weights = np.ones((1, inputs))
        if columns is not None:
            weights = np.square(columns.reshape(len(columns), -1))
        sums = np.asarray(self._squares @ weights.T).T[:, self._which]
        norms = up(np.sqrt(sums) + self._error, inputs)
        if self.operator.slack:
            # The slack of a coefficient is relative to that, which a difference can leave small.
            norms = up(norms + times(self.operator.slack, self._sums(columns)))
        return norms

    def _sums(self, columns: np.ndarray | None) -> np.ndarray:
        """Of any two rows: the sum of their norms."""
        if columns is not None:
            columns = columns.reshape(-1, *self.operator.in_shape)
        norms = self.operator.row_norms(columns)
        norms = np.broadcast_to(norms, (len(norms), *self.operator.out_shape))
        norms = norms.reshape(len(norms), -1)
        return up(norms[:, self.first] + norms[:, self.second])


def _filters(
    operator: Proved, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Differences of filters, and which one belongs to every pair; `None` where that is not all.

    Both outputs are at one position of a convolution, where the filters read the same entries.
    """
    if isinstance(operator, Chain):
        if operator.inner.moves and not operator.outer.copies:
            return _filters(operator.outer, first, second)
        if not operator.outer.moves:
            return None
        origin = origins(operator.outer)
        first, second, operator = origin[first], origin[second], operator.inner
        return _filters(operator, first, second) if min(first.min(), second.min()) >= 0 else None
    if not isinstance(operator, ProvedConv) or operator.map.geometry.groups != 1:
        return None
    filters = operator.map.kernel.reshape(-1, operator.out_shape[-1]).T
    if not np.array_equal(first // len(filters), second // len(filters)):
        return None
    pairs = np.stack([first, second]) % len(filters)
    (one, other), which = np.unique(pairs, axis=1, return_inverse=True)
    return filters[one] - filters[other], which.reshape(-1)


def _rows(operator: Proved, places: np.ndarray, budget: int) -> tuple[Any, float] | None:
    """Some rows, an array or a sparse one, and how far each may be from the true one; `None` if too many."""
    if isinstance(operator, Chain) and operator.outer.copies:
        origin = origins(operator.outer)[places]
        found = _rows(operator.inner, np.maximum(origin, 0), budget)
        if found is None or (origin >= 0).all():
            return found
        return sparse.diags((origin >= 0).astype("float64")) @ found[0], found[1]
    if isinstance(operator, Chain) and operator.inner.moves:
        found, origin = _rows(operator.outer, places, budget), origins(operator.inner)
        if found is None or np.array_equal(origin, np.arange(operator.inputs)):
            return found
        some = np.flatnonzero(origin >= 0)
        shape = len(origin), operator.inputs
        moved = sparse.csr_array((np.ones(len(some)), (some, origin[some])), shape=shape)
        return found[0] @ moved, found[1]
    if isinstance(operator, ProvedConv):
        if operator.map.kernel[..., 0].size * max(len(places), operator.outputs) > budget:
            return None
        return sparse.csr_array(operator.matrix)[places], 0.0
    if len(places) * operator.inputs > budget:
        return None
    if isinstance(operator, ProvedDense) and len(operator.out_shape) == 1:
        return operator.map.kernel.T[places], 0.0
    if operator.written is None:
        return None
    return operator.written[0][places], operator.written[1]
