"""Matrix products and entrywise scales."""

import math
from typing import Any

from keras import ops

from keraslip.bounds.maps.linear_map import LinearMap, Shape
from keraslip.bounds.numerics import max_abs, safe_sqrt

Tensor = Any


class DenseMap(LinearMap):
    """`x @ kernel` along the last axis.

    Args:
        kernel: Tensor `(features_in, features_out)`.
        in_shape: Shape of one input; its last entry is `features_in`.
    """

    def __init__(self, kernel: Tensor, in_shape: Shape) -> None:
        super().__init__(in_shape, (*in_shape[:-1], kernel.shape[-1]))
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        return ops.matmul(x, self.kernel)

    def adjoint(self, y: Tensor) -> Tensor:
        return ops.matmul(y, ops.transpose(self.kernel))

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        scale = max_abs(self.kernel)
        squares = ops.square(self.kernel / scale)
        if varying is None:
            total = ops.reshape(ops.sum(squares, axis=0), (1,) * len(self.out_shape) + (-1,))
        else:
            total = ops.matmul(varying, squares)
        return scale * safe_sqrt(total)

    def norm_bound(self) -> Tensor:
        magnitude = ops.abs(self.kernel)
        return mixed_norm(ops.max(ops.sum(magnitude, axis=0)), ops.max(ops.sum(magnitude, axis=1)))

    def unit(self) -> Tensor:
        return max_abs(self.kernel) * math.sqrt(math.prod(self.kernel.shape))

    def constant(self) -> LinearMap:
        return DenseMap(ops.stop_gradient(self.kernel), self.in_shape)

    def absolute(self) -> LinearMap:
        return DenseMap(ops.abs(self.kernel), self.in_shape)

    def after_channel_scale(self, inner: LinearMap) -> LinearMap | None:
        if isinstance(inner, DiagonalMap) and inner.channel_scale is not None:
            return DenseMap(ops.reshape(inner.channel_scale, (-1, 1)) * self.kernel, self.in_shape)
        return None


class DiagonalMap(LinearMap):
    """Entrywise product with fixed numbers: rescaling, normalisation.

    Args:
        scale: Tensor that broadcasts to `(1, *shape)`.
        shape: Shape of one input, without the batch axis.
    """

    def __init__(self, scale: Tensor, shape: Shape) -> None:
        super().__init__(shape, shape)
        rank = len(shape) + 1
        self.scale = ops.reshape(scale, (1,) * (rank - len(scale.shape)) + tuple(scale.shape))

    @property
    def channel_scale(self) -> Tensor | None:
        """The scale of each channel (last axis), or `None` where it depends on more."""
        if any(size != 1 for size in self.scale.shape[:-1]):
            return None
        return ops.broadcast_to(ops.reshape(self.scale, (-1,)), (self.in_shape[-1],))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self.scale

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        magnitude = ops.abs(self.scale)
        return magnitude if varying is None else magnitude * varying

    def norm_bound(self) -> Tensor:
        return ops.max(ops.abs(self.scale))

    def constant(self) -> LinearMap:
        return DiagonalMap(ops.stop_gradient(self.scale), self.in_shape)

    def absolute(self) -> LinearMap:
        return DiagonalMap(ops.abs(self.scale), self.in_shape)


def mixed_norm(column_sum: Tensor, row_sum: Tensor) -> Tensor:
    """`sqrt(||W||_1 ||W||_inf) >= ||W||_2`, without overflow of the product.

    Args:
        column_sum: Largest absolute column sum, a scalar.
        row_sum: Largest absolute row sum, a scalar.

    Returns:
        A scalar upper bound of the spectral norm.
    """
    return safe_sqrt(column_sum) * safe_sqrt(row_sum)
