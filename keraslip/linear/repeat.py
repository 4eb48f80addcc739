"""Entries that are repeated: nearest-neighbour upsampling."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from keraslip.linear.linear_map import LinearMap, Shape

Tensor = Any


@dataclass(frozen=True, eq=False)
class RepeatMap(LinearMap):
    """Every pixel becomes a block of its copies, in channels-last layout.

    Args:
        in_shape: `(height, width, channels)`.
        times: Copies along height and width.
    """

    roundings: ClassVar[int] = 0
    one_sum: ClassVar[bool] = True

    in_shape: Shape
    times: tuple[int, int]

    @property
    def out_shape(self) -> Shape:
        (height, width, channels), (down, across) = self.in_shape, self.times
        return (height * down, width * across, channels)

    def forward(self, x: Tensor) -> Tensor:
        (height, width, channels), (down, across) = self.in_shape, self.times
        blocks = self.arithmetic.reshape(x, (-1, height, 1, width, 1, channels))
        blocks = blocks * self.arithmetic.ones((1, 1, down, 1, across, 1))
        return self.arithmetic.reshape(blocks, (-1, *self.out_shape))

    def adjoint(self, y: Tensor) -> Tensor:
        (height, width, channels), (down, across) = self.in_shape, self.times
        blocks = self.arithmetic.reshape(y, (-1, height, down, width, across, channels))
        return self.arithmetic.sum(blocks, axis=(2, 4))

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        return self.forward(
            self.arithmetic.ones((1, *self.in_shape)) if varying is None else varying
        )

    def norm_bound(self) -> Tensor:
        return self.arithmetic.ones(()) * math.sqrt(math.prod(self.times))
