"""Two-dimensional convolutions with their exact adjoint."""

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

from keraslip.arithmetic.geometry import ConvGeometry
from keraslip.linear.linear_map import LinearMap, Shape, channel_scale
from keraslip.linear.magnitudes import max_abs, mixed_norm, safe_sqrt
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class ConvMap(LinearMap):
    """A convolution in channels-last layout."""

    convolves: ClassVar[bool] = True
    roundings: ClassVar[int] = 0
    one_sum: ClassVar[bool] = True
    stores: ClassVar[bool] = True

    kernel: Tensor  #: Tensor `(kernel_height, kernel_width, channels_in / groups, channels_out)`.
    in_shape: Shape  #: `(height, width, channels_in)`.
    geometry: ConvGeometry = ConvGeometry()  #: Strides, padding, dilation and groups.
    #: Kernels as the arithmetic convolves with them, there and back, once they are made.
    _kept: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False)

    @property
    def out_shape(self) -> Shape:
        image = self.geometry.out_image(self.in_shape[:2], self.kernel.shape)
        return (*image, self.kernel.shape[-1])

    @property
    def left(self) -> tuple[int, int]:
        """Rows above and columns left of the image that are padding."""
        return self.geometry.left(self.in_shape[:2], self.kernel.shape)

    def _conv(self, x: Tensor, kernel: Tensor) -> Tensor:
        kernel = self.arithmetic.conv_kernel(kernel, self.geometry, self.in_shape[-1])
        return self.arithmetic.conv(x, kernel, self.geometry)

    def forward(self, x: Tensor) -> Tensor:
        if self._kept is None:
            return self._conv(x, self.kernel)
        return self.arithmetic.conv(x, self._kept[0], self.geometry)

    def adjoint(self, y: Tensor) -> Tensor:
        xp, channels = self.arithmetic, self.in_shape[-1]
        kernel = self._kept[1] if self._kept else None
        if kernel is None:
            kernel = xp.adjoint_kernel(self.kernel, self.geometry, channels)
        return xp.conv_adjoint(y, kernel, self.geometry, self.in_shape, self.left)

    def prepared(self) -> LinearMap:
        # TensorFlow dies of a convolution whose kernel is made inside of a loop.
        xp, arguments = self.arithmetic, (self.kernel, self.geometry, self.in_shape[-1])
        prepared = replace(self)
        kept = xp.conv_kernel(*arguments), xp.adjoint_kernel(*arguments)
        object.__setattr__(prepared, "_kept", kept)
        return prepared

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        xp = self.arithmetic
        scale = max_abs(xp, self.kernel)
        squares = xp.square(self.kernel / scale)
        if tight:
            mask = xp.ones((1, *self.in_shape)) if varying is None else varying
            return scale * safe_sqrt(xp, self._conv(mask, squares))
        # At the border some taps fall on the padding; the whole filter's norm is still an upper bound.
        total = xp.reshape(xp.sum(squares, axis=(0, 1, 2)), (1, 1, 1, -1))
        return scale * safe_sqrt(xp, total)

    def norm_bound(self) -> Tensor:
        xp = self.arithmetic
        magnitude = xp.abs(self.kernel)
        into_one_output = xp.max(xp.sum(magnitude, axis=(0, 1, 2)))
        return mixed_norm(
            xp, xp.max(self.by_input(xp.sum(magnitude, axis=(0, 1)))), into_one_output
        )

    def by_input(self, taps: Tensor) -> Tensor:
        """Numbers `(channels_in / groups, channels_out)`, of magnitudes, added up for every input channel."""
        xp, groups = self.arithmetic, self.geometry.groups
        if groups == 1:
            return xp.sum(taps, axis=1)
        return xp.sum(xp.reshape(taps, (taps.shape[0], groups, -1)), axis=2)

    def unit(self) -> Tensor:
        height, width, inner, outer = self.kernel.shape
        size = height * width * math.sqrt(inner * outer)
        return max_abs(self.arithmetic, self.kernel) * size

    def scaled_in(self, scale: Tensor) -> LinearMap | None:
        xp, groups = self.arithmetic, self.geometry.groups
        of_channel = channel_scale(xp, scale, self.in_shape[-1])
        if of_channel is None:
            return None
        if groups == 1:
            return self._with_kernel(self.kernel * xp.reshape(of_channel, (1, 1, -1, 1)))
        height, width, inner, outer = self.kernel.shape
        taps = xp.reshape(self.kernel, (height, width, inner, groups, outer // groups))
        of_group = xp.transpose(xp.reshape(of_channel, (groups, inner)))
        return self._with_kernel(
            xp.reshape(taps * xp.reshape(of_group, (inner, groups, 1)), self.kernel.shape)
        )

    def scaled_out(self, scale: Tensor) -> LinearMap | None:
        of_channel = channel_scale(self.arithmetic, scale, self.kernel.shape[-1])
        return None if of_channel is None else self._with_kernel(self.kernel * of_channel)

    def _with_kernel(self, kernel: Tensor) -> "ConvMap":
        return replace(self, kernel=kernel)
