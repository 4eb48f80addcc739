"""Matrix products and entrywise scales."""

from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from keraslip.certify.norms import dense_norm
from keraslip.certify.norms.rounding import (
    FLOAT32,
    INFLATION,
    TINY,
    mixed_bound,
    raised,
    scaled_squares,
    times,
    up,
)
from keraslip.certify.operators.operator import Operator, Shape, register_operator
from keraslip.certify.operators.stored import StoredOperator
from keraslip.linear import DenseMap, DiagonalMap


def as_float64(tensor: Any) -> np.ndarray:
    """A backend's tensor as a float64 array."""
    return np.asarray(ops.convert_to_numpy(tensor), dtype="float64")


class DenseOperator(StoredOperator):
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

    @property
    def coefficients(self) -> np.ndarray:
        return self.kernel

    def sums(self, magnitudes: np.ndarray) -> np.ndarray:
        shape = (1, *self.out_shape)
        return np.broadcast_to(magnitudes.sum(axis=0), shape)

    @cached_property
    def squares(self) -> tuple[np.ndarray, np.ndarray]:
        """Squares of the kernel with each output scaled, and the powers of two to multiply roots by."""
        squares, power = scaled_squares(self.kernel.T)
        return np.ascontiguousarray(squares.T), power

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x @ self.kernel.astype(x.dtype, copy=False)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return y @ self.kernel.T

    def build_absolute(self) -> Operator:
        return DenseOperator(np.abs(self.kernel), self.in_shape)

    def build_norm(self) -> float:
        return dense_norm(self.kernel, tight=True)

    @cached_property
    def absolute_norm(self) -> float:
        magnitude = np.abs(self.kernel)
        sums = magnitude.sum(axis=1).max(), magnitude.sum(axis=0).max()
        return mixed_norm(*sums, max(self.kernel.shape), self.slack)

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        squares, power = self.squares
        # With a batch axis and one for every axis of an output: radii of samples are multiplied by them.
        whole = squares.sum(axis=0).reshape(1, *(1,) * (len(self.out_shape) - 1), -1)
        sums = whole if columns is None else np.square(columns) @ squares
        return times(up(np.sqrt(sums), len(squares)) * (1.0 + self.slack), power)

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
        norm = dense_norm(block * columns[keep_in, None] * rows[keep_out])
        # What vanishes of a product is far below TINY.
        lost = TINY if norm > 0.0 or block.any() else 0.0
        return (norm + lost) * (1.0 + self.slack)


def mixed_norm(column_sum: float, row_sum: float, terms: int, slack: float) -> float:
    """`sqrt(|W|_1 |W|_inf)`: near the norm where no coefficient is negative.

    Args:
        column_sum: Largest sum of a column, as computed.
        row_sum: Largest sum of a row.
        terms: Number of terms of the longer sum.
        slack: See `Operator`.
    """
    return raised(mixed_bound(float(column_sum), float(row_sum), terms) * (1.0 + slack) * INFLATION)


class DiagonalOperator(StoredOperator):
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
    def coefficients(self) -> np.ndarray:
        return self.scale

    def sums(self, magnitudes: np.ndarray) -> np.ndarray:
        return np.broadcast_to(magnitudes, (1, *self.out_shape))

    @cached_property
    def swell(self) -> np.ndarray:
        """A layer may add before it scales: `(x - mean) / std`."""
        magnitude = np.abs(self.scale)
        with np.errstate(divide="ignore", over="ignore"):
            before = np.where(magnitude == 0.0, 1.0, 1.0 / magnitude)
        return up(np.maximum(before, 1.0))

    @property
    def channel_scale(self) -> np.ndarray | None:
        """The scale of each channel (last axis), or `None` where it depends on more."""
        if any(size != 1 for size in self.scale.shape[:-1]):
            return None
        return np.broadcast_to(self.scale.reshape(-1), (self.in_shape[-1],))

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x * self.scale.astype(x.dtype, copy=False)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return y * self.scale

    def build_absolute(self) -> Operator:
        return DiagonalOperator(np.abs(self.scale), self.in_shape)

    def build_norm(self) -> float:
        return float(np.abs(self.scale).max())

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        magnitude = np.abs(self.scale) * (1.0 + self.slack)
        return up(magnitude if columns is None else times(magnitude, columns))

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        weighed = times(times(np.abs(self.scale[0]), rows), columns)
        return float(up(weighed.max() * (1.0 + self.slack)))


@register_operator(DenseMap)
def _dense(linear_map: DenseMap) -> Operator:
    return DenseOperator(as_float64(linear_map.kernel), linear_map.in_shape)


@register_operator(DiagonalMap)
def _diagonal(linear_map: DiagonalMap) -> Operator:
    # A derived scale, such as 1 / std, comes from a few float32 operations; the layer's own may differ.
    return DiagonalOperator(as_float64(linear_map.scale), linear_map.in_shape, slack=8 * FLOAT32)
