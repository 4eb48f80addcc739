"""Maps that only move entries: reshape, permute, zero padding."""

import math
from typing import Any

from keras import ops

from keraslip.bounds.maps.linear_map import LinearMap, Shape

Tensor = Any


class _Moving(LinearMap):
    """Base of the maps whose output entries are input entries, each used once, or zeros."""

    isometry = True

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        return self.forward(ops.ones((1, *self.in_shape)) if varying is None else varying)

    def norm_bound(self) -> Tensor:
        return ops.ones(())

    def constant(self) -> LinearMap:
        return self

    def absolute(self) -> LinearMap:
        return self


class ReshapeMap(_Moving):
    """Row-major reshape, flatten included.

    Args:
        in_shape: Shape of one input.
        out_shape: Shape of one output; as many entries.
    """

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        if math.prod(in_shape) != math.prod(out_shape):
            raise ValueError(
                f"A reshape keeps the number of entries. Received: {in_shape} -> {out_shape}"
            )
        super().__init__(in_shape, out_shape)

    def forward(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (-1, *self.out_shape))

    def adjoint(self, y: Tensor) -> Tensor:
        return ops.reshape(y, (-1, *self.in_shape))


class PermuteMap(_Moving):
    """Permutation of the axes.

    Args:
        in_shape: Shape of one input.
        axes: Order of the input's axes in the output, counted from 0 without the batch axis.
    """

    def __init__(self, in_shape: Shape, axes: tuple[int, ...]) -> None:
        super().__init__(in_shape, tuple(in_shape[axis] for axis in axes))
        self._axes = (0, *(axis + 1 for axis in axes))
        self._inverse = tuple(sorted(range(len(self._axes)), key=self._axes.__getitem__))

    def forward(self, x: Tensor) -> Tensor:
        return ops.transpose(x, self._axes)

    def adjoint(self, y: Tensor) -> Tensor:
        return ops.transpose(y, self._inverse)


class ZeroPadMap(_Moving):
    """Zeros around the tensor.

    Args:
        in_shape: Shape of one input.
        padding: For every axis the zeros before and after.
    """

    def __init__(self, in_shape: Shape, padding: tuple[tuple[int, int], ...]) -> None:
        sizes = zip(in_shape, padding, strict=True)
        super().__init__(in_shape, tuple(n + before + after for n, (before, after) in sizes))
        self._padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return ops.pad(x, ((0, 0), *self._padding))

    def adjoint(self, y: Tensor) -> Tensor:
        cuts = zip(self.in_shape, self._padding, strict=True)
        return y[(slice(None), *(slice(before, before + n) for n, (before, _) in cuts))]
