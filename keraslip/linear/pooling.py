"""Average pooling as a linear map."""

import math
from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import ClassVar

from keraslip.arithmetic.geometry import PoolGeometry
from keraslip.linear.linear_map import LinearMap, Shape
from keraslip.linear.magnitudes import safe_sqrt
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class AveragePoolMap(LinearMap):
    """Average pooling in channels-last layout.

    The map is one small matrix along the height and one along the width. They are read off the backend's
    own pooling, for at the border of padding `"same"` backends differ: TensorFlow and JAX divide by the
    number of real pixels in the window, PyTorch repeats the last pixel where the padding is uneven.
    """

    roundings: ClassVar[int] = 4  # shares such as 1/3 are read as float32
    one_sum: ClassVar[bool] = True

    in_shape: Shape  #: `(height, width, channels)`.
    pool_size: tuple[int, int]  #: Window along height and width.
    strides: tuple[int, int]  #: Step along height and width.
    padding: str  #: `"valid"` or `"same"`.
    #: The two matrices, `(height, out_height)` and `(width, out_width)`, where they are known.
    sides: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        if self.sides is not None:
            return
        xp, (height, width, _) = self.arithmetic, self.in_shape
        # Rows of pixels as images: each pools to its share of every output row. Windows' weights sum
        # to 1, so what is constant along the other axis stays so.
        rows = xp.reshape(xp.eye(height), (height, height, 1, 1)) * xp.ones((1, 1, width, 1))
        columns = xp.reshape(xp.eye(width), (width, 1, width, 1)) * xp.ones((1, height, 1, 1))
        sides = self._pool(rows)[:, :, 0, 0], self._pool(columns)[:, 0, :, 0]
        object.__setattr__(self, "sides", sides)

    @property
    def window(self) -> int:
        """Number of pixels that one output adds up before it divides.

        A backend may repeat pixels at the border, and add them as often: the matrices do not show it.
        """
        return math.prod(self.pool_size)

    @property
    def _both(self) -> tuple[Tensor, Tensor]:
        assert self.sides is not None
        return self.sides

    @property
    def out_shape(self) -> Shape:
        high, wide = self._both
        return (high.shape[1], wide.shape[1], self.in_shape[-1])

    def _pool(self, x: Tensor) -> Tensor:
        pool = PoolGeometry(self.pool_size, self.strides, self.padding)
        return self.arithmetic.average_pool(x, self.sides, pool)

    def forward(self, x: Tensor) -> Tensor:
        return self._pool(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.arithmetic.einsum("bpqc,hp,wq->bhwc", y, *self._both)

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        xp = self.arithmetic
        high, wide = (xp.sqrt(xp.sum(xp.square(side), axis=0)) for side in self._both)
        return xp.reshape(high, (1, -1, 1, 1)) * xp.reshape(wide, (1, 1, -1, 1))

    def norm_bound(self) -> Tensor:
        # The largest sum of a row times that of a column; the exact norm where windows are disjoint. Rows
        # do not quite sum to 1 where shares are read as float32.
        xp = self.arithmetic
        sums = [xp.max(xp.sum(side, axis=axis)) for side in self._both for axis in (0, 1)]
        return safe_sqrt(xp, reduce(mul, sums))


@dataclass(frozen=True, eq=False)
class MeanMap(LinearMap):
    """Mean over height and width in channels-last layout, `(h, w, c)` to `(c,)`."""

    roundings: ClassVar[int] = 0
    one_sum: ClassVar[bool] = True

    in_shape: Shape  #: `(height, width, channels)`.

    @property
    def window(self) -> int:
        """Number of pixels that one output adds up before it divides."""
        return math.prod(self.in_shape[:-1])

    @property
    def out_shape(self) -> Shape:
        return (self.in_shape[-1],)

    def forward(self, x: Tensor) -> Tensor:
        return self.arithmetic.mean(x, axis=(1, 2))

    def adjoint(self, y: Tensor) -> Tensor:
        xp = self.arithmetic
        spread = xp.reshape(y, (-1, 1, 1, self.in_shape[-1])) / self.window
        return spread * xp.ones((1, *self.in_shape[:2], 1))

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        return self.arithmetic.ones((1, *self.out_shape)) * self.window**-0.5

    def norm_bound(self) -> Tensor:
        return self.arithmetic.ones(()) * self.window**-0.5
