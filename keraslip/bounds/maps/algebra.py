"""Identity, composition and sum of linear maps."""

from typing import Any

from keras import ops

from keraslip.bounds.maps.linear_map import LinearMap, Shape

Tensor = Any


class Identity(LinearMap):
    """The map that changes nothing.

    Args:
        shape: Shape of input and output, without the batch axis.
    """

    isometry = True

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, shape)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        return ops.ones((1, *self.out_shape)) if varying is None else varying

    def norm_bound(self) -> Tensor:
        return ops.ones(())

    def constant(self) -> LinearMap:
        return self

    def absolute(self) -> LinearMap:
        return self


class Composition(LinearMap):
    """`outer` after `inner`; use `compose`, which simplifies.

    Args:
        outer: The map applied last.
        inner: The map applied first.
    """

    def __init__(self, outer: LinearMap, inner: LinearMap) -> None:
        super().__init__(inner.in_shape, outer.out_shape)
        self.outer, self.inner = outer, inner
        self.isometry = outer.isometry and inner.isometry
        self.convolves = outer.convolves or inner.convolves

    def forward(self, x: Tensor) -> Tensor:
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self.inner.adjoint(self.outer.adjoint(y))

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        if self.outer.isometry:  # rows are only moved (or dropped)
            norms = ops.broadcast_to(
                inner := self.inner.row_norms(varying, tight),
                (ops.shape(inner)[0], *self.inner.out_shape),
            )
            return self.outer.forward(norms)
        if self.inner.isometry:  # columns are only moved
            moved = None if varying is None else self.inner.forward(varying)
            return self.outer.row_norms(moved, tight)
        # ||e_j^T A B|| <= ||e_j^T A|| ||B||
        return self.outer.row_norms(None, tight) * self.inner.norm_bound()

    def norm_bound(self) -> Tensor:
        return self.outer.norm_bound() * self.inner.norm_bound()

    def unit(self) -> Tensor:
        return self.outer.unit() * self.inner.unit()

    def constant(self) -> LinearMap:
        return Composition(self.outer.constant(), self.inner.constant())

    def prepared(self) -> LinearMap:
        return Composition(self.outer.prepared(), self.inner.prepared())

    def absolute(self) -> LinearMap:
        return Composition(self.outer.absolute(), self.inner.absolute())


class Sum(LinearMap):
    """Sum of maps with the same input and output, such as `x + conv(x)`.

    Args:
        maps: The summands.
    """

    def __init__(self, maps: tuple[LinearMap, ...]) -> None:
        super().__init__(maps[0].in_shape, maps[0].out_shape)
        self.maps = maps
        self.convolves = any(m.convolves for m in maps)

    def forward(self, x: Tensor) -> Tensor:
        return _total([m.forward(x) for m in self.maps])

    def adjoint(self, y: Tensor) -> Tensor:
        return _total([m.adjoint(y) for m in self.maps])

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        return _total([m.row_norms(varying, tight) for m in self.maps])

    def norm_bound(self) -> Tensor:
        return _total([m.norm_bound() for m in self.maps])

    def unit(self) -> Tensor:
        return _total([m.unit() for m in self.maps])

    def constant(self) -> LinearMap:
        return Sum(tuple(m.constant() for m in self.maps))

    def prepared(self) -> LinearMap:
        return Sum(tuple(m.prepared() for m in self.maps))

    def absolute(self) -> LinearMap:
        return Sum(tuple(m.absolute() for m in self.maps))


def compose(outer: LinearMap, inner: LinearMap) -> LinearMap:
    """`outer` after `inner`, simplified where that makes the bounds tighter.

    A scale of each channel (input normalisation) followed by a dense layer or a convolution is folded
    into the kernel, so that its row norms are exact.

    Args:
        outer: The map applied last.
        inner: The map applied first.

    Returns:
        The composed map.
    """
    if isinstance(inner, Identity):
        return outer
    if isinstance(outer, Identity):
        return inner
    folded = getattr(outer, "after_channel_scale", lambda _: None)(inner)
    return Composition(outer, inner) if folded is None else folded


def _total(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
