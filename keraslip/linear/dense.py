"""Matrix products and entrywise scales."""

import math
from dataclasses import dataclass
from typing import ClassVar

from keraslip.linear.linear_map import LinearMap, Shape, channel_scale
from keraslip.linear.magnitudes import max_abs, mixed_norm, safe_sqrt
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class DenseMap(LinearMap):
    """`x @ kernel` along the last axis."""

    roundings: ClassVar[int] = 0
    one_sum: ClassVar[bool] = True
    stores: ClassVar[bool] = True

    kernel: Tensor  #: Tensor `(features_in, features_out)`.
    in_shape: Shape  #: Shape of one input; its last entry is `features_in`.

    @property
    def out_shape(self) -> Shape:
        return (*self.in_shape[:-1], self.kernel.shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.arithmetic.matmul(x, self.kernel)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.arithmetic.matmul(y, self.arithmetic.transpose(self.kernel))

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        xp = self.arithmetic
        scale = max_abs(xp, self.kernel)
        squares = xp.square(self.kernel / scale)
        if varying is None:
            total = xp.reshape(xp.sum(squares, axis=0), (1,) * len(self.out_shape) + (-1,))
        else:
            total = xp.matmul(varying, squares)
        return scale * safe_sqrt(xp, total)

    def norm_bound(self) -> Tensor:
        xp = self.arithmetic
        magnitude = xp.abs(self.kernel)
        sums = (xp.max(xp.sum(magnitude, axis=axis)) for axis in (0, 1))
        return mixed_norm(xp, *sums)

    def unit(self) -> Tensor:
        return max_abs(self.arithmetic, self.kernel) * math.sqrt(math.prod(self.kernel.shape))

    def scaled_in(self, scale: Tensor) -> LinearMap | None:
        of_channel = channel_scale(self.arithmetic, scale, self.in_shape[-1])
        if of_channel is None:
            return None
        kernel = self.arithmetic.reshape(of_channel, (-1, 1)) * self.kernel
        return DenseMap(kernel, self.in_shape, arithmetic=self.arithmetic)

    def scaled_out(self, scale: Tensor) -> LinearMap | None:
        of_channel = channel_scale(self.arithmetic, scale, self.out_shape[-1])
        if of_channel is None:
            return None
        return DenseMap(self.kernel * of_channel, self.in_shape, arithmetic=self.arithmetic)


@dataclass(frozen=True, eq=False)
class DiagonalMap(LinearMap):
    """Entrywise product with fixed numbers: rescaling, normalisation."""

    one_sum: ClassVar[bool] = True
    stores: ClassVar[bool] = True

    scale: Tensor  #: Tensor that broadcasts to `(1, *shape)`.
    in_shape: Shape  #: Shape of one input, without the batch axis.

    def __post_init__(self) -> None:
        missing = len(self.in_shape) + 1 - len(self.scale.shape)
        if missing:
            shape = (1,) * missing + tuple(self.scale.shape)
            object.__setattr__(self, "scale", self.arithmetic.reshape(self.scale, shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self.scale

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        magnitude = self.arithmetic.abs(self.scale)
        return magnitude if varying is None else magnitude * varying

    def norm_bound(self) -> Tensor:
        return self.arithmetic.max(self.arithmetic.abs(self.scale))

    def scaled_in(self, scale: Tensor) -> LinearMap | None:
        return DiagonalMap(self.scale * scale, self.in_shape, arithmetic=self.arithmetic)


@dataclass(frozen=True, eq=False)
class ExactScaleMap(DiagonalMap):
    """Entrywise product with powers of two and their negatives, which rounds nothing: `-x`."""

    roundings: ClassVar[int] = 0
