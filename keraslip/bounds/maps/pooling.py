"""Average pooling as a linear map."""

import math
from typing import Any

from keras import ops

from keraslip.bounds.maps.linear_map import LinearMap, Shape
from keraslip.bounds.numerics import safe_sqrt

Tensor = Any


class AveragePoolMap(LinearMap):
    """Average pooling in channels-last layout.

    The map is one small matrix along the height and one along the width. They are read off the backend's
    own pooling, for at the border of padding `"same"` backends differ: TensorFlow and JAX divide by the
    number of real pixels in the window, PyTorch repeats the last pixel where the padding is uneven.

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
        #: Number of pixels that one output adds up.
        self.window = math.prod(pool_size)
        self._arguments = {"pool_size": pool_size, "strides": strides, "padding": padding}
        height, width, channels = in_shape
        # Rows of pixels as images: each pools to its share of every output row. Windows' weights sum
        # to 1, so what is constant along the other axis stays so.
        rows = ops.reshape(ops.eye(height), (height, height, 1, 1)) * ops.ones((1, 1, width, 1))
        columns = ops.reshape(ops.eye(width), (width, 1, width, 1)) * ops.ones((1, height, 1, 1))
        self.along_height = self._pool(rows)[:, :, 0, 0]  # (height, out height)
        self.along_width = self._pool(columns)[:, 0, :, 0]
        outputs = (self.along_height.shape[1], self.along_width.shape[1])
        super().__init__(in_shape, (*outputs, channels))

    def _pool(self, x: Tensor) -> Tensor:
        return ops.average_pool(x, data_format="channels_last", **self._arguments)

    def forward(self, x: Tensor) -> Tensor:
        return self._pool(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return ops.einsum("bpqc,hp,wq->bhwc", y, self.along_height, self.along_width)

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        high, wide = (
            ops.sqrt(ops.sum(ops.square(side), axis=0))
            for side in (self.along_height, self.along_width)
        )
        return ops.reshape(high, (1, -1, 1, 1)) * ops.reshape(wide, (1, 1, -1, 1))

    def norm_bound(self) -> Tensor:
        # Rows of the map sum to 1; the exact norm where windows are disjoint.
        columns = [ops.sum(side, axis=1) for side in (self.along_height, self.along_width)]
        return safe_sqrt(ops.max(columns[0]) * ops.max(columns[1]))

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
