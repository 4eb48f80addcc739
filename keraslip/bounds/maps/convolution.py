"""Two-dimensional convolutions with their exact adjoint."""

import math
from dataclasses import dataclass
from typing import Any

from keras import ops

from keraslip.bounds.maps.dense import DiagonalMap, mixed_norm
from keraslip.bounds.maps.linear_map import LinearMap, Shape
from keraslip.bounds.numerics import max_abs, safe_sqrt

Tensor = Any


@dataclass(frozen=True)
class ConvGeometry:
    """Strides, padding, dilation and groups of a convolution.

    Args:
        strides: Step along height and width.
        padding: `"valid"` or `"same"`.
        dilation: Distance of the kernel's taps along height and width.
        groups: Number of independent channel groups.
    """

    strides: tuple[int, int] = (1, 1)
    padding: str = "valid"
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def axis(self, axis: int, size: int, kernel_size: int) -> tuple[int, int]:
        """Output size and left padding along one spatial axis (0 or 1)."""
        stride = self.strides[axis]
        reach = (kernel_size - 1) * self.dilation[axis] + 1
        if self.padding == "valid":
            return (size - reach) // stride + 1, 0
        out = -(-size // stride)
        return out, max((out - 1) * stride + reach - size, 0) // 2


class ConvMap(LinearMap):
    """A convolution in channels-last layout.

    Args:
        kernel: Tensor `(kernel_height, kernel_width, channels_in / groups, channels_out)`.
        in_shape: `(height, width, channels_in)`.
        geometry: Strides, padding, dilation and groups.
    """

    convolves = True

    def __init__(self, kernel: Tensor, in_shape: Shape, geometry: ConvGeometry) -> None:
        axes = [geometry.axis(i, in_shape[i], kernel.shape[i]) for i in (0, 1)]
        super().__init__(in_shape, (axes[0][0], axes[1][0], kernel.shape[-1]))
        self.kernel, self.geometry = kernel, geometry
        self._left = (axes[0][1], axes[1][1])
        self._kept: list[Tensor] | None = None

    def _conv(self, x: Tensor, kernel: Tensor) -> Tensor:
        return ops.conv(
            x,
            kernel,
            strides=self.geometry.strides,
            padding=self.geometry.padding,
            data_format="channels_last",
            dilation_rate=self.geometry.dilation,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self._conv(x, self.kernel)

    def adjoint(self, y: Tensor) -> Tensor:
        kernels = self._kept or self._adjoint_kernels()
        if len(kernels) == 1:
            return self._fit(self._transposed(y, kernels[0]))
        # One call for each group, for their inputs and outputs change places.
        parts = zip(ops.split(y, len(kernels), axis=-1), kernels, strict=True)
        return self._fit(ops.concatenate([self._transposed(p, k) for p, k in parts], axis=-1))

    def _adjoint_kernels(self) -> list[Tensor]:
        """The kernels that the adjoint convolves with, one for each group: flipped, in and out exchanged."""
        groups = self.geometry.groups
        parts = [self.kernel] if groups == 1 else ops.split(self.kernel, groups, axis=-1)
        return [self._flipped(part) for part in parts]

    def _flipped(self, kernel: Tensor) -> Tensor:
        (sh, sw), (kh, kw, inner, outer) = self.geometry.strides, kernel.shape
        if sh * sw > 1 and self.geometry.dilation == (1, 1):
            # An input pixel meets every s-th tap only: the taps of each of the s x s cases become channels.
            height, width = -(-kh // sh), -(-kw // sw)
            kernel = ops.pad(kernel, ((0, height * sh - kh), (0, width * sw - kw), (0, 0), (0, 0)))
            kernel = ops.reshape(kernel, (height, sh, width, sw, inner, outer))
            kernel = ops.transpose(kernel, (0, 2, 1, 3, 4, 5))
            kernel = ops.reshape(kernel, (height, width, sh * sw * inner, outer))
        flipped = ops.transpose(ops.flip(kernel, axis=(0, 1)), (0, 1, 3, 2))
        # PyTorch has no gradient for one image and one channel: a second one is made, and cut off.
        only = flipped.shape[-1] == 1
        return ops.pad(flipped, ((0, 0), (0, 0), (0, 0), (0, 1))) if only else flipped

    def _transposed(self, y: Tensor, kernel: Tensor) -> Tensor:
        """The adjoint before the forward's padding is cut off, as a convolution of y.

        conv_transpose(padding="same") is not the adjoint for every odd size, and the gradient of any
        conv_transpose with respect to its kernel takes XLA on CPUs 45 times as long as that of a convolution.
        """
        (sh, sw), dilation = self.geometry.strides, self.geometry.dilation
        reach = [(size - 1) * step for size, step in zip(kernel.shape, dilation, strict=False)]
        z = ops.conv(
            ops.pad(y, ((0, 0), *((size, size) for size in reach), (0, 0))),
            kernel,
            padding="valid",
            data_format="channels_last",
            dilation_rate=dilation,
        )
        inner = self.kernel.shape[2]
        if sh == sw == 1:
            return z[..., :inner]
        rows, columns = z.shape[1], z.shape[2]
        z = ops.transpose(ops.reshape(z, (-1, rows, columns, sh, sw, inner)), (0, 1, 3, 2, 4, 5))
        return ops.reshape(z, (-1, rows * sh, columns * sw, inner))

    def _fit(self, z: Tensor) -> Tensor:
        """Cuts the forward's padding off, and adds the pixels that no window reached."""
        (top, left), (height, width, _) = self._left, self.in_shape
        z = z[:, top : top + height, left : left + width, :]
        missing = (height - z.shape[1], width - z.shape[2])
        if any(missing):
            z = ops.pad(z, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
        return z

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        scale = max_abs(self.kernel)
        squares = ops.square(self.kernel / scale)
        if tight:
            mask = ops.ones((1, *self.in_shape)) if varying is None else varying
            return scale * safe_sqrt(self._conv(mask, squares))
        # At the border some taps fall on the padding; the whole filter's norm is still an upper bound.
        return scale * safe_sqrt(ops.reshape(ops.sum(squares, axis=(0, 1, 2)), (1, 1, 1, -1)))

    def norm_bound(self) -> Tensor:
        magnitude = ops.abs(self.kernel)
        into_one_output = ops.max(ops.sum(magnitude, axis=(0, 1, 2)))
        groups = ops.split(magnitude, self.geometry.groups, axis=-1)
        from_one_input = ops.max(ops.stack([ops.max(ops.sum(g, axis=(0, 1, 3))) for g in groups]))
        return mixed_norm(from_one_input, into_one_output)

    def unit(self) -> Tensor:
        height, width, inner, outer = self.kernel.shape
        return max_abs(self.kernel) * (height * width * math.sqrt(inner * outer))

    def _with_kernel(self, kernel: Tensor) -> "ConvMap":
        return ConvMap(kernel, self.in_shape, self.geometry)

    def constant(self) -> LinearMap:
        return self._with_kernel(ops.stop_gradient(self.kernel))

    def prepared(self) -> LinearMap:
        # TensorFlow dies of a convolution whose kernel is made inside of a loop.
        prepared = self._with_kernel(self.kernel)
        prepared._kept = prepared._adjoint_kernels()
        return prepared

    def absolute(self) -> LinearMap:
        return self._with_kernel(ops.abs(self.kernel))

    def after_channel_scale(self, inner: LinearMap) -> LinearMap | None:
        if self.geometry.groups != 1 or not isinstance(inner, DiagonalMap):
            return None
        if inner.channel_scale is None:
            return None
        return self._with_kernel(self.kernel * ops.reshape(inner.channel_scale, (1, 1, -1, 1)))
