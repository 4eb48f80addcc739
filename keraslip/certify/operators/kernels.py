"""Dense layers, convolutions and scales: maps that store their coefficients."""

import math
from typing import Any

import numpy as np

from keraslip.certify.norms import conv_matrix, conv_norm, dense_norm, is_pointwise, sparse_norm
from keraslip.certify.norms.geometry import Convolution
from keraslip.certify.norms.rounding import (
    INFLATION,
    TINY,
    mixed_bound,
    raised,
    scaled_squares,
    times,
    up,
)
from keraslip.certify.operators.proved import Proved, prove, register_operator
from keraslip.certify.operators.upwards import Upwards
from keraslip.linear import AdjointMap, ConvMap, DenseMap, DiagonalMap, ExactScaleMap
from keraslip.lockless import cached_property
from keraslip.typing import Tensor

#: Above this many coefficients a convolution is not written out to sharpen its global norm, and not at all.
_WRITTEN_OUT, _LARGEST = 10_000_000, 2**26
#: Nor is it if one factorisation takes more multiplications than this: about 3 seconds.
_AFFORDABLE = 1e11


@register_operator(DenseMap)
class ProvedDense(Proved):
    """`x @ kernel` along the last axis."""

    map: DenseMap
    reads_columns = True

    @cached_property
    def squares(self) -> tuple[np.ndarray, np.ndarray]:
        """Squares of the kernel with each output scaled, and the powers of two to multiply roots by."""
        squares, power = scaled_squares(self.map.kernel.T)
        return np.ascontiguousarray(squares.T), power

    def build_norm(self) -> float:
        return dense_norm(self.map.kernel, tight=True)

    @cached_property
    def absolute_norm(self) -> float:
        magnitude = np.abs(self.map.kernel)
        sums = magnitude.sum(axis=1).max(), magnitude.sum(axis=0).max()
        return mixed_norm(*sums, max(magnitude.shape), self.slack)

    def whole_rows(self) -> np.ndarray:
        squares, power = self.squares
        norms = up(np.sqrt(squares.sum(axis=0)), len(squares)) * (1.0 + self.slack)
        # With a batch axis and one for every axis of an output: radii of samples are multiplied by them.
        return times(norms, power).reshape(1, *(1,) * (len(self.out_shape) - 1), -1)

    def weighed_rows(self, upwards: Upwards, columns: Tensor) -> Tensor:
        xp = upwards.arithmetic
        squares, power = (xp.constant(part) for part in self.squares)
        norms = upwards.up(xp.sqrt(xp.matmul(xp.square(columns), squares)), len(self.squares[0]))
        return upwards.times(norms * (1.0 + self.slack), power)

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        # One kernel for every position: the largest norm over the positions.
        positions = (weights.reshape(-1, weights.shape[-1]) for weights in (rows, columns))
        return max(self._restricted(*pair) for pair in zip(*positions, strict=True))

    def _restricted(self, rows: np.ndarray, columns: np.ndarray) -> float:
        keep_in, keep_out = columns != 0.0, rows != 0.0  # NaN is kept, and makes the norm infinite
        block = self.map.kernel[np.ix_(keep_in, keep_out)]
        norm = dense_norm(block * columns[keep_in, None] * rows[keep_out])
        # What vanishes of a product is far below TINY.
        lost = TINY if norm > 0.0 or block.any() else 0.0
        return (norm + lost) * (1.0 + self.slack)


@register_operator(DiagonalMap)
@register_operator(ExactScaleMap)
class ProvedDiagonal(Proved):
    """Entrywise product."""

    map: DiagonalMap
    reads_columns = True

    @cached_property
    def _magnitude(self) -> np.ndarray:
        return np.abs(self.map.scale)

    @cached_property
    def swell(self) -> np.ndarray:
        """A layer may add before it scales: `(x - mean) / std`."""
        with np.errstate(divide="ignore", over="ignore"):
            before = np.where(self._magnitude == 0.0, 1.0, 1.0 / self._magnitude)
        return up(np.maximum(before, 1.0))

    def build_norm(self) -> float:
        return float(self._magnitude.max())

    def whole_rows(self) -> np.ndarray:
        return up(self._magnitude * (1.0 + self.slack))

    def weighed_rows(self, upwards: Upwards, columns: Tensor) -> Tensor:
        magnitude = upwards.arithmetic.constant(self._magnitude) * (1.0 + self.slack)
        return upwards.up(upwards.times(magnitude, columns))

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        weighed = times(times(self._magnitude[0], rows), columns)
        return float(up(weighed.max() * (1.0 + self.slack)))


def band_of(conv: ConvMap) -> tuple[int, int]:
    """Size and bandwidth of the Gram matrix of a convolution, on the side that has fewer units."""
    geometry, taps = conv.geometry, conv.kernel.shape[:2]
    spans = [(n - 1) * d for n, d in zip(taps, geometry.dilation, strict=True)]
    shape = conv.in_shape
    if math.prod(conv.out_shape) < math.prod(shape):
        # Two outputs meet where their windows do.
        shape, spans = (
            conv.out_shape,
            [n // s for n, s in zip(spans, geometry.strides, strict=True)],
        )
    size = math.prod(shape)
    return size, min(size, (spans[0] * shape[1] + spans[1] + 1) * shape[2])


def factored(conv: ConvMap) -> float:
    """Multiplications of a factorisation of that matrix."""
    size, band = band_of(conv)
    return float(size) * band**2


def is_written_out(conv: ConvMap) -> bool:
    """Whether a convolution is written out to sharpen its global norm."""
    coefficients = math.prod(conv.kernel.shape[:3]) * math.prod(conv.out_shape)
    return coefficients <= _WRITTEN_OUT and factored(conv) <= _AFFORDABLE


@register_operator(ConvMap)
class ProvedConv(Proved):
    """A convolution in channels-last layout."""

    map: ConvMap

    @property
    def _convolution(self) -> Convolution:
        geometry = self.map.geometry
        shape = (geometry.strides, self.map.left, geometry.dilation, geometry.groups)
        return Convolution(self.map.kernel, self.in_shape[:2], *shape, self.out_shape[:2])

    @cached_property
    def matrix(self) -> Any:
        """The operator as a sparse matrix, entries in row-major order."""
        return conv_matrix(self._convolution)

    @property
    def price(self) -> float:
        if self._coefficients > _LARGEST:
            return 0.0
        return factored(self.map)

    @property
    def _coefficients(self) -> int:
        """How many the written-out matrix has, or a few more."""
        return self.map.kernel[..., 0].size * self.outputs

    def build_norm(self) -> float:
        norm = conv_norm(self._convolution)
        if is_written_out(self.map) and not is_pointwise(self._convolution):
            # The torus has no border; the operator itself is up to a few per cent smaller. The matrix is
            # not kept: few layers ever need it again.
            norm = min(norm, sparse_norm(conv_matrix(self._convolution), tight=True))
        return norm

    @cached_property
    def absolute_norm(self) -> float:
        magnitude = np.abs(self.map.kernel)
        from_one_input = self.map.by_input(magnitude.sum(axis=(0, 1))).max()
        into_one_output = magnitude.sum(axis=(0, 1, 2)).max()
        return mixed_norm(from_one_input, into_one_output, magnitude.size, self.slack)

    def whole_rows(self) -> np.ndarray:
        # Of whole filters, `(1, 1, 1, filters)`: at the border some taps fall on the padding.
        squares, power = scaled_squares(self.map.kernel.reshape(-1, self.out_shape[-1]).T)
        norms = up(np.sqrt(squares.sum(axis=1)), squares.shape[1]) * (1.0 + self.slack)
        return times(norms, power)[None, None, None]

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        rows, columns = rows.reshape(-1), columns.reshape(-1)
        keep_out, keep_in = np.flatnonzero(rows), np.flatnonzero(columns)
        if not len(keep_out) or not len(keep_in):
            return 0.0
        if self._coefficients > _LARGEST:
            return self.by_norm(rows, columns)
        block = self.matrix[keep_out]
        # Zeros stay stored: rows of one pixel keep one pattern, which makes the Gram matrix fast.
        block.data *= np.repeat(rows[keep_out], np.diff(block.indptr))
        block.data *= columns[block.indices]
        norm = sparse_norm(block[:, keep_in])
        # What vanishes of a product is far below TINY.
        lost = TINY if norm > 0.0 or self.matrix[keep_out][:, keep_in].data.any() else 0.0
        return (norm + lost) * (1.0 + self.slack)


def mixed_norm(column_sum: float, row_sum: float, terms: int, slack: float) -> float:
    """`sqrt(|W|_1 |W|_inf)` from computed sums of `terms` magnitudes: near the norm if none is negative."""
    return raised(mixed_bound(float(column_sum), float(row_sum), terms) * (1.0 + slack) * INFLATION)


@register_operator(AdjointMap)
class ProvedAdjoint(Proved):
    """A transposed map: its norm is that of the map."""

    map: AdjointMap

    def build_norm(self) -> float:
        return min(super().build_norm(), prove(self.map.of).build_norm())
