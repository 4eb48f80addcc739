"""Matrix products and entrywise scales."""

from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from keraslip.bounds.maps import DenseMap, DiagonalMap
from keraslip.certify.norms import dense_norm
from keraslip.certify.operators.operator import Operator, Shape, register_operator
from keraslip.certify.rounding import FLOAT32, INFLATION, up


def as_float64(tensor: Any) -> np.ndarray:
    """A backend's tensor as a float64 array."""
    return np.asarray(ops.convert_to_numpy(tensor), dtype="float64")


class DenseOperator(Operator):
    """`x @ kernel` along the last axis.

    Args:
        kernel: Array `(features_in, features_out)`.
        in_shape: Shape of one input.
        slack: See `Operator`.
    """

    reads_columns = True
    one_sum = True

    def __init__(self, kernel: np.ndarray, in_shape: Shape, slack: float = 0.0) -> None:
        super().__init__(in_shape, (*in_shape[:-1], kernel.shape[1]), kernel.shape[0], slack)
        self.kernel = kernel
        self._squares = np.square(kernel)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x @ self.kernel

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return y @ self.kernel.T

    def build_absolute(self) -> Operator:
        return DenseOperator(np.abs(self.kernel), self.in_shape)

    def build_norm(self) -> float:
        return dense_norm(self.kernel, tight=True)

    @cached_property
    def absolute_norm(self) -> float:
        magnitude = np.abs(self.kernel)
        return mixed_norm(magnitude.sum(axis=1).max(), magnitude.sum(axis=0).max(), self.slack)

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        if columns is None:
            return up(np.sqrt(self._squares.sum(axis=0)))[None] * (1.0 + self.slack)
        return up(np.sqrt(np.square(columns) @ self._squares)) * (1.0 + self.slack)

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        if rows.ndim > 1:
            # One kernel for every position: the largest norm over the positions.
            pairs = zip(
                rows.reshape(-1, rows.shape[-1]),
                columns.reshape(-1, columns.shape[-1]),
                strict=True,
            )
            return max(self._restricted(row, column) for row, column in pairs)
        return self._restricted(rows, columns)

    def _restricted(self, rows: np.ndarray, columns: np.ndarray) -> float:
        keep_in, keep_out = columns != 0.0, rows != 0.0  # NaN is kept, and makes the norm infinite
        block = self.kernel[np.ix_(keep_in, keep_out)]
        block = block * columns[keep_in, None] * rows[keep_out]
        return dense_norm(block) * (1.0 + self.slack)


def mixed_norm(column_sum: float, row_sum: float, slack: float) -> float:
    """`sqrt(|W|_1 |W|_inf)`: near the norm where no coefficient is negative."""
    return float(np.sqrt(column_sum) * np.sqrt(row_sum) * (1.0 + slack) * INFLATION)


class DiagonalOperator(Operator):
    """Entrywise product.

    Args:
        scale: Array that broadcasts to `(1, *shape)`.
        shape: Shape of one input.
        slack: See `Operator`.
    """

    reads_columns = True
    one_sum = True

    def __init__(self, scale: np.ndarray, shape: Shape, slack: float = 0.0) -> None:
        super().__init__(shape, shape, 1, slack)
        self.scale = scale

    @property
    def channel_scale(self) -> np.ndarray | None:
        """The scale of each channel (last axis), or `None` where it depends on more."""
        if any(size != 1 for size in self.scale.shape[:-1]):
            return None
        return np.broadcast_to(self.scale.reshape(-1), (self.in_shape[-1],))

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x * self.scale

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return y * self.scale

    def build_absolute(self) -> Operator:
        return DiagonalOperator(np.abs(self.scale), self.in_shape)

    def build_norm(self) -> float:
        return float(np.abs(self.scale).max())

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        magnitude = np.abs(self.scale) * (1.0 + self.slack)
        return up(magnitude if columns is None else magnitude * columns)

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        largest = np.abs(self.scale[0] * rows * columns).max()
        return float(up(largest * (1.0 + self.slack)))


@register_operator(DenseMap)
def _dense(linear_map: DenseMap) -> Operator:
    return DenseOperator(as_float64(linear_map.kernel), linear_map.in_shape)


@register_operator(DiagonalMap)
def _diagonal(linear_map: DiagonalMap) -> Operator:
    # A derived scale, such as 1 / std, comes from a few float32 operations; the layer's own may differ.
    return DiagonalOperator(as_float64(linear_map.scale), linear_map.in_shape, slack=8 * FLOAT32)
