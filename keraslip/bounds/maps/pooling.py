"""Average pooling as a linear map."""

import math
from typing import Any

from keras import ops

from keraslip.bounds.maps.convolution import ConvGeometry, ConvMap
from keraslip.bounds.maps.linear_map import LinearMap, Shape
from keraslip.bounds.numerics import safe_sqrt

Tensor = Any


class AveragePoolMap(LinearMap):
    """Average pooling in channels-last layout.

    With padding `"same"` a window is divided by the number of real pixels in it, as Keras does; its row
    norm is then `1 / sqrt(count)`, not `1 / pool size`.

    Args:
        in_shape: `(height, width, channels)`.
        pool_size: Window along height and width.
        strides: Step along height and width.
        padding: `"valid"` or `"same"`.
    """

    def __init__(
        self,
        in_shape: Shape,
        pool_size: tuple[int, int],
        strides: tuple[int, int],
        padding: str,
    ) -> None:
        kernel = ops.ones((*pool_size, 1, 1))
        one_channel = (in_shape[0], in_shape[1], 1)
        self._windows = ConvMap(kernel, one_channel, ConvGeometry(strides, padding))
        super().__init__(in_shape, (*self._windows.out_shape[:2], in_shape[2]))
        self._arguments = {"pool_size": pool_size, "strides": strides, "padding": padding}
        self._counts = self._windows.forward(ops.ones((1, *one_channel)))

    def forward(self, x: Tensor) -> Tensor:
        return ops.average_pool(x, data_format="channels_last", **self._arguments)

    def adjoint(self, y: Tensor) -> Tensor:
        (height, width, channels), (rows, columns, _) = self.in_shape, self.out_shape
        # Channels are independent: as batch entries they share one single-channel convolution.
        alone = ops.reshape(ops.transpose(y / self._counts, (0, 3, 1, 2)), (-1, rows, columns, 1))
        spread = ops.reshape(self._windows.adjoint(alone), (-1, channels, height, width))
        return ops.transpose(spread, (0, 2, 3, 1))

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        return 1.0 / ops.sqrt(self._counts)

    def norm_bound(self) -> Tensor:
        # Rows sum to 1; the exact norm where windows are disjoint.
        return safe_sqrt(ops.max(self._windows.adjoint(1.0 / self._counts)))

    def constant(self) -> LinearMap:
        return self

    def absolute(self) -> LinearMap:
        return self


class MeanMap(LinearMap):
    """Mean over height and width in channels-last layout, `(h, w, c)` to `(c,)`.

    Args:
        in_shape: `(height, width, channels)`.
    """

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, (in_shape[-1],))
        self._count = math.prod(in_shape[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return ops.mean(x, axis=(1, 2))

    def adjoint(self, y: Tensor) -> Tensor:
        spread = ops.reshape(y, (-1, 1, 1, self.in_shape[-1])) / self._count
        return spread * ops.ones((1, *self.in_shape[:2], 1))

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        return ops.full((1, *self.out_shape), self._count**-0.5)

    def norm_bound(self) -> Tensor:
        return ops.convert_to_tensor(self._count**-0.5)

    def constant(self) -> LinearMap:
        return self

    def absolute(self) -> LinearMap:
        return self
