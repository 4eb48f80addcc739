"""Two-dimensional convolutions with their exact adjoint."""

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

    def __init__(self, kernel: Tensor, in_shape: Shape, geometry: ConvGeometry) -> None:
        axes = [geometry.axis(i, in_shape[i], kernel.shape[i]) for i in (0, 1)]
        super().__init__(in_shape, (axes[0][0], axes[1][0], kernel.shape[-1]))
        self.kernel, self.geometry = kernel, geometry
        self._left = (axes[0][1], axes[1][1])

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
        # keras.ops.conv_transpose knows no groups: one call for each.
        groups = self.geometry.groups
        if groups == 1:
            return self._fit(self._transposed(y, self.kernel))
        parts = zip(
            ops.split(y, groups, axis=-1), ops.split(self.kernel, groups, axis=-1), strict=True
        )
        return self._fit(ops.concatenate([self._transposed(p, k) for p, k in parts], axis=-1))

    def _transposed(self, y: Tensor, kernel: Tensor) -> Tensor:
        # padding="same" of conv_transpose is not the adjoint for every odd size; "valid" always is,
        # once the forward's padding is cut off.
        return ops.conv_transpose(
            y,
            kernel,
            strides=self.geometry.strides,
            padding="valid",
            data_format="channels_last",
            dilation_rate=self.geometry.dilation,
        )

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

    def _with_kernel(self, kernel: Tensor) -> "ConvMap":
        return ConvMap(kernel, self.in_shape, self.geometry)

    def constant(self) -> LinearMap:
        return self._with_kernel(ops.stop_gradient(self.kernel))

    def absolute(self) -> LinearMap:
        return self._with_kernel(ops.abs(self.kernel))

    def after_channel_scale(self, inner: LinearMap) -> LinearMap | None:
        if self.geometry.groups != 1 or not isinstance(inner, DiagonalMap):
            return None
        if inner.channel_scale is None:
            return None
        return self._with_kernel(self.kernel * ops.reshape(inner.channel_scale, (1, 1, -1, 1)))
