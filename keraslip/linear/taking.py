"""Entries of the axes by their places: upsampling, windows, flips, slices."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from keraslip.linear.linear_map import LinearMap, Shape
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class TakeMap(LinearMap):
    """Every output entry is an input entry, which may be taken several times."""

    roundings: ClassVar[int] = 0
    one_sum: ClassVar[bool] = True
    copies: ClassVar[bool] = True

    in_shape: Shape  #: Shape of one input.
    #: For every axis the places to take, in order; `None` for the axis as it is.
    places: tuple[tuple[int, ...] | None, ...]

    @property
    def _taken(self) -> list[tuple[int, tuple[int, ...]]]:
        return [(axis, found) for axis, found in enumerate(self.places) if found is not None]

    @property
    def most(self) -> int:
        """How often the entry that is taken most often is taken."""
        return math.prod(max(Counter(found).values()) for _, found in self._taken)

    @property
    def isometry(self) -> bool:  # type: ignore[override]
        return self.most == 1

    @property
    def out_shape(self) -> Shape:
        sizes = zip(self.in_shape, self.places, strict=True)
        return tuple(n if found is None else len(found) for n, found in sizes)

    def forward(self, x: Tensor) -> Tensor:
        for axis, found in self._taken:
            x = self.arithmetic.take(x, list(found), axis + 1)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        xp = self.arithmetic
        for axis, found in self._taken:
            # Ones where an entry was taken: what backends have to add up by places differs too much.
            ones = xp.take(xp.eye(self.in_shape[axis]), list(found), 0)
            order = [*(k for k in range(len(self.in_shape) + 1) if k != axis + 1), axis + 1]
            back = sorted(range(len(order)), key=order.__getitem__)
            y = xp.transpose(xp.matmul(xp.transpose(y, order), ones), back)
        return y

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        ones = self.arithmetic.ones((1, *self.in_shape)) if varying is None else varying
        return self.forward(ones)

    def norm_bound(self) -> Tensor:
        return self.arithmetic.ones(()) * math.sqrt(self.most)
