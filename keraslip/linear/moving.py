"""Maps that only move entries: reshape, permute, zero padding, cropping."""

import math
from dataclasses import dataclass
from typing import ClassVar

from keraslip.linear.linear_map import LinearMap, Shape
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class MovingMap(LinearMap):
    """Base of the maps whose output entries are input entries, each used at most once, or zeros.

    A subclass gives `forward` and `adjoint`, and `out_shape` where the shape changes.

    Args:
        in_shape: Shape of one input.

    Example:

    ```python
    class MirrorMap(keraslip.linear.MovingMap):
        def forward(self, x):
            return self.arithmetic.flip(x, axis=2)

        adjoint = forward
    ```
    """

    isometry: ClassVar[bool] = True
    copies: ClassVar[bool] = True
    roundings: ClassVar[int] = 0
    one_sum: ClassVar[bool] = True

    in_shape: Shape

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        ones = self.arithmetic.ones((1, *self.in_shape)) if varying is None else varying
        return self.forward(ones)

    def norm_bound(self) -> Tensor:
        return self.arithmetic.ones(())


@dataclass(frozen=True, eq=False)
class ReshapeMap(MovingMap):
    """Row-major reshape, flatten included."""

    target: Shape  #: Shape of one output; as many entries.

    def __post_init__(self) -> None:
        if math.prod(self.in_shape) != math.prod(self.target):
            raise ValueError(
                f"A reshape keeps the number of entries. Received: {self.in_shape} -> {self.target}"
            )

    @property
    def out_shape(self) -> Shape:
        return self.target

    def forward(self, x: Tensor) -> Tensor:
        return self.arithmetic.reshape(x, (-1, *self.target))

    def adjoint(self, y: Tensor) -> Tensor:
        return self.arithmetic.reshape(y, (-1, *self.in_shape))


@dataclass(frozen=True, eq=False)
class PermuteMap(MovingMap):
    """Permutation of the axes."""

    #: Order of the input's axes in the output, counted from 0 without the batch axis.
    axes: tuple[int, ...]

    @property
    def out_shape(self) -> Shape:
        return tuple(self.in_shape[axis] for axis in self.axes)

    def forward(self, x: Tensor) -> Tensor:
        return self.arithmetic.transpose(x, (0, *(axis + 1 for axis in self.axes)))

    def adjoint(self, y: Tensor) -> Tensor:
        places = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return self.arithmetic.transpose(y, (0, *(place + 1 for place in places)))


@dataclass(frozen=True, eq=False)
class ZeroPadMap(MovingMap):
    """Zeros around the tensor."""

    padding: tuple[tuple[int, int], ...]  #: For every axis the zeros before and after.

    @property
    def out_shape(self) -> Shape:
        sizes = zip(self.in_shape, self.padding, strict=True)
        return tuple(n + before + after for n, (before, after) in sizes)

    def forward(self, x: Tensor) -> Tensor:
        return self.arithmetic.pad(x, ((0, 0), *self.padding))

    def adjoint(self, y: Tensor) -> Tensor:
        cuts = zip(self.in_shape, self.padding, strict=True)
        return y[(slice(None), *(slice(before, before + n) for n, (before, _) in cuts))]


@dataclass(frozen=True, eq=False)
class CropMap(MovingMap):
    """Entries cut off at the ends of the axes."""

    #: For every axis the entries to cut off before and after.
    cropping: tuple[tuple[int, int], ...]

    @property
    def out_shape(self) -> Shape:
        sizes = zip(self.in_shape, self.cropping, strict=True)
        return tuple(n - before - after for n, (before, after) in sizes)

    def forward(self, x: Tensor) -> Tensor:
        kept = zip(self.out_shape, self.cropping, strict=True)
        return x[(slice(None), *(slice(before, before + n) for n, (before, _) in kept))]

    def adjoint(self, y: Tensor) -> Tensor:
        return self.arithmetic.pad(y, ((0, 0), *self.cropping))
