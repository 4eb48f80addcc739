"""Two-dimensional convolutions."""

from functools import cached_property
from typing import Any

import numpy as np

from keraslip.certify.norms import conv_matrix, conv_norm, sparse_norm
from keraslip.certify.norms.rounding import TINY, scaled_squares, times, up
from keraslip.certify.operators.dense import as_float64, mixed_norm
from keraslip.certify.operators.operator import Operator, Shape, register_operator
from keraslip.certify.operators.stored import StoredOperator
from keraslip.linear import ConvGeometry, ConvMap

#: Above this many coefficients the operator is not written out to sharpen its global norm.
_WRITTEN_OUT = 4_000_000


class ConvOperator(StoredOperator):
    """A convolution in channels-last layout.

    Args:
        kernel: Array `(kernel_height, kernel_width, channels_in / groups, channels_out)`.
        in_shape: `(height, width, channels_in)`.
        geometry: Strides, padding, dilation and groups.
        slack: See `Operator`.
    """

    costly = True
    one_sum = True

    def __init__(
        self, kernel: np.ndarray, in_shape: Shape, geometry: ConvGeometry, slack: float = 0.0
    ) -> None:
        axes = [geometry.axis(i, in_shape[i], kernel.shape[i]) for i in (0, 1)]
        out_shape = (axes[0][0], axes[1][0], kernel.shape[-1])
        super().__init__(in_shape, out_shape, int(np.prod(kernel.shape[:3])), slack)
        self.kernel, self.geometry = kernel, geometry
        self.left = (axes[0][1], axes[1][1])

    @property
    def coefficients(self) -> np.ndarray:
        return self.kernel

    def sums(self, magnitudes: np.ndarray) -> np.ndarray:
        # The whole filter's: at the border some taps fall on the padding.
        return np.broadcast_to(magnitudes.sum(axis=(0, 1, 2)), (1, *self.out_shape))

    def _windows(self, padded: np.ndarray) -> Any:
        """Every tap of the kernel with the view of the padded image that it reads."""
        (sh, sw), (dh, dw) = self.geometry.strides, self.geometry.dilation
        height, width, _ = self.out_shape
        for i in range(self.kernel.shape[0]):
            for j in range(self.kernel.shape[1]):
                rows = slice(i * dh, i * dh + sh * (height - 1) + 1, sh)
                columns = slice(j * dw, j * dw + sw * (width - 1) + 1, sw)
                yield self.kernel[i, j], padded[:, rows, columns, :]

    @property
    def extent(self) -> tuple[int, int]:
        """Size of the padded image: what the windows reach, and all of the image."""
        sizes = []
        for axis in (0, 1):
            reach = (self.kernel.shape[axis] - 1) * self.geometry.dilation[axis] + 1
            read = (self.out_shape[axis] - 1) * self.geometry.strides[axis] + reach
            sizes.append(max(read, self.left[axis] + self.in_shape[axis]))
        return sizes[0], sizes[1]

    def _inside(self) -> tuple[slice, slice]:
        (top, left), (height, width, _) = self.left, self.in_shape
        return slice(top, top + height), slice(left, left + width)

    def forward(self, x: np.ndarray) -> np.ndarray:
        rows, columns = self._inside()
        padded = np.zeros((len(x), *self.extent, self.in_shape[-1]), x.dtype)
        padded[:, rows, columns] = x
        out = np.zeros((len(x), *self.out_shape), x.dtype)
        groups = self.geometry.groups
        parts = np.split(np.arange(self.in_shape[-1]), groups)
        width = self.out_shape[-1] // groups
        for tap, view in self._windows(padded):
            for group, channels in enumerate(parts):
                to = slice(group * width, (group + 1) * width)
                part = tap[:, to].astype(x.dtype, copy=False)
                out[..., to] += (view if groups == 1 else view[..., channels]) @ part
        return out

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        rows, columns = self._inside()
        padded = np.zeros((len(y), *self.extent, self.in_shape[-1]))
        groups = self.geometry.groups
        per_group, width = self.in_shape[-1] // groups, self.out_shape[-1] // groups
        for tap, view in self._windows(padded):
            for group in range(groups):
                to = slice(group * width, (group + 1) * width)
                back = slice(group * per_group, (group + 1) * per_group)
                view[..., back] += y[..., to] @ tap[:, to].T
        return np.ascontiguousarray(padded[:, rows, columns])

    def build_absolute(self) -> Operator:
        return ConvOperator(np.abs(self.kernel), self.in_shape, self.geometry)

    def with_kernel(self, kernel: np.ndarray, slack: float) -> "ConvOperator":
        """The convolution with another kernel of the same shape."""
        return ConvOperator(kernel, self.in_shape, self.geometry, slack)

    @property
    def _arguments(self) -> tuple[Any, ...]:
        geometry = self.geometry
        image, out_image = self.in_shape[:2], self.out_shape[:2]
        shape = (geometry.strides, self.left, geometry.dilation, geometry.groups)
        return (self.kernel, image, *shape, out_image)

    @cached_property
    def matrix(self) -> Any:
        """The operator as a sparse matrix, entries in row-major order."""
        return conv_matrix(*self._arguments)

    def build_norm(self) -> float:
        norm = conv_norm(*self._arguments)
        if self.kernel[..., 0].size * self.outputs <= _WRITTEN_OUT:
            # The torus has no border; the operator itself is up to a few per cent smaller.
            norm = min(norm, sparse_norm(self.matrix, tight=True))
        return norm

    @cached_property
    def absolute_norm(self) -> float:
        magnitude = np.abs(self.kernel)
        groups = np.split(magnitude, self.geometry.groups, axis=-1)
        from_one_input = max(group.sum(axis=(0, 1, 3)).max() for group in groups)
        into_one_output = magnitude.sum(axis=(0, 1, 2)).max()
        return mixed_norm(from_one_input, into_one_output, magnitude.size, self.slack)

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        return self._filter_norms

    @cached_property
    def _filter_norms(self) -> np.ndarray:
        """Norms of whole filters, `(1, 1, 1, filters)`: at the border some taps fall on the padding."""
        squares, power = scaled_squares(self.kernel.reshape(-1, self.out_shape[-1]).T)
        norms = up(np.sqrt(squares.sum(axis=1)), self.terms) * (1.0 + self.slack)
        return times(norms, power)[None, None, None]

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        rows, columns = rows.reshape(-1), columns.reshape(-1)
        keep_out, keep_in = np.flatnonzero(rows), np.flatnonzero(columns)
        if not len(keep_out) or not len(keep_in):
            return 0.0
        block = self.matrix[keep_out]
        # Zeros stay stored: rows of one pixel keep one pattern, which makes the Gram matrix fast.
        block.data *= np.repeat(rows[keep_out], np.diff(block.indptr))
        block.data *= columns[block.indices]
        norm = sparse_norm(block[:, keep_in])
        # What vanishes of a product is far below TINY.
        lost = TINY if norm > 0.0 or self.matrix[keep_out][:, keep_in].data.any() else 0.0
        return (norm + lost) * (1.0 + self.slack)


@register_operator(ConvMap)
def _convolution(linear_map: ConvMap) -> Operator:
    kernel = as_float64(linear_map.kernel)
    return ConvOperator(kernel, linear_map.in_shape, linear_map.geometry)
