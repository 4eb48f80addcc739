"""Maps that only move entries or add zeros."""

from functools import cached_property

import numpy as np

from keraslip.certify.operators.dense import as_float64
from keraslip.certify.operators.operator import Operator, Shape, register_operator
from keraslip.linear import Identity, LinearMap, PermuteMap, ReshapeMap, ZeroPadMap


class MovingOperator(Operator):
    """Every output entry is one input entry, used once, or zero.

    Args:
        in_shape: Shape of one input.
        out_shape: Shape of one output.
        source: For every output entry the flat index of its input entry, or -1 for zero; `None` for a
            plain reshape.
    """

    moves = True
    reads_columns = True

    def __init__(self, in_shape: Shape, out_shape: Shape, source: np.ndarray | None = None) -> None:
        super().__init__(in_shape, out_shape, 0)
        self.source = source
        if source is not None:
            self._filled = source >= 0
            self._target = np.empty(self.inputs, dtype="int64")
            self._target[source[self._filled]] = np.flatnonzero(self._filled)

    @property
    def plain(self) -> bool:
        """Whether it is but a reshape."""
        return self.source is None

    def forward(self, x: np.ndarray) -> np.ndarray:
        if self.source is None:
            return x.reshape(len(x), *self.out_shape)
        flat = x.reshape(len(x), -1)[:, self.source] * self._filled
        return flat.reshape(len(x), *self.out_shape)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        flat = y.reshape(len(y), -1)
        flat = flat if self.source is None else flat[:, self._target]
        return flat.reshape(len(y), *self.in_shape)

    def build_absolute(self) -> Operator:
        return self

    @property
    def fan_out(self) -> int:
        return 0

    @cached_property
    def flushes(self) -> np.ndarray:
        return np.zeros((1, *self.out_shape))

    @cached_property
    def vanished(self) -> float:
        return 0.0

    def vanishing(self, smallest: float) -> None:
        return None

    def build_norm(self) -> float:
        return 1.0

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        return self.forward(np.ones((1, *self.in_shape)) if columns is None else columns)

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        return float((rows * self.forward(columns[None])[0]).max())


@register_operator(ReshapeMap)
def _reshape(linear_map: LinearMap) -> Operator:
    return MovingOperator(linear_map.in_shape, linear_map.out_shape)


@register_operator(Identity)
def _identity(linear_map: LinearMap) -> Operator:
    return MovingOperator(linear_map.in_shape, linear_map.out_shape)


@register_operator(PermuteMap)
@register_operator(ZeroPadMap)
def _moved(linear_map: LinearMap) -> Operator:
    count = int(np.prod(linear_map.in_shape))
    if count >= 2**24:
        raise NotImplementedError(f"a tensor of {count} entries is too large to be moved")
    # The map itself tells where entries go: float32 holds these integers exactly.
    numbers = np.arange(1, count + 1, dtype="float32").reshape(1, *linear_map.in_shape)
    source = as_float64(linear_map.forward(numbers)).astype("int64").reshape(-1) - 1
    return MovingOperator(linear_map.in_shape, linear_map.out_shape, source)
