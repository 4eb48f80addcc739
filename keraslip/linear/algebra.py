"""Identity, composition and sum of linear maps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import add
from typing import Any, ClassVar

from keraslip.linear.dense import DiagonalMap
from keraslip.linear.linear_map import LinearMap, Shape
from keraslip.linear.magnitudes import hypotenuse
from keraslip.linear.moving import MovingMap, PermuteMap, ReshapeMap
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class Identity(MovingMap):
    """The map that changes nothing: input and output have one shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y


@dataclass(frozen=True, eq=False)
class Composition(LinearMap):
    """`outer` after `inner`; use `compose`, which simplifies."""

    roundings: ClassVar[int] = 0

    outer: LinearMap  #: The map applied last.
    inner: LinearMap  #: The map applied first.
    in_shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", self.inner.in_shape)

    @property
    def out_shape(self) -> Shape:
        return self.outer.out_shape

    @property
    def isometry(self) -> bool:  # type: ignore[override]
        return self.outer.isometry and self.inner.isometry

    @property
    def copies(self) -> bool:  # type: ignore[override]
        return all(m.copies or m.isometry for m in (self.outer, self.inner))

    @property
    def convolves(self) -> bool:  # type: ignore[override]
        return self.outer.convolves or self.inner.convolves

    def forward(self, x: Tensor) -> Tensor:
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self.inner.adjoint(self.outer.adjoint(y))

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        if self.outer.isometry or self.outer.copies:  # rows are moved, repeated or dropped
            norms, shape = self.inner.row_norms(varying, tight), self.inner.out_shape
            if tuple(norms.shape[1:]) != shape:
                norms = norms * self.arithmetic.ones((1, *shape))
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

    def prepared(self) -> LinearMap:
        return Composition(self.outer.prepared(), self.inner.prepared(), arithmetic=self.arithmetic)


@dataclass(frozen=True, eq=False)
class Sum(LinearMap):
    """Sum of maps with the same input and output, such as `x + conv(x)`."""

    roundings: ClassVar[int] = 0

    maps: tuple[LinearMap, ...]  #: The summands.
    in_shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", self.maps[0].in_shape)

    @property
    def out_shape(self) -> Shape:
        return self.maps[0].out_shape

    @property
    def convolves(self) -> bool:  # type: ignore[override]
        return any(m.convolves for m in self.maps)

    def forward(self, x: Tensor) -> Tensor:
        return reduce(add, [m.forward(x) for m in self.maps])

    def adjoint(self, y: Tensor) -> Tensor:
        return reduce(add, [m.adjoint(y) for m in self.maps])

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        return reduce(add, [m.row_norms(varying, tight) for m in self.maps])

    def norm_bound(self) -> Tensor:
        return reduce(add, [m.norm_bound() for m in self.maps])

    def unit(self) -> Tensor:
        return reduce(add, [m.unit() for m in self.maps])

    def prepared(self) -> LinearMap:
        return Sum(tuple(m.prepared() for m in self.maps), arithmetic=self.arithmetic)


@dataclass(frozen=True, eq=False)
class Stack(Sum):
    """A sum of maps onto disjoint entries, such as branches that are concatenated.

    Where one of the summands is not zero the others are.
    """

    def norm_bound(self) -> Tensor:
        return reduce(partial(hypotenuse, self.arithmetic), [m.norm_bound() for m in self.maps])

    def prepared(self) -> LinearMap:
        return Stack(tuple(m.prepared() for m in self.maps), arithmetic=self.arithmetic)


def compose(outer: LinearMap, inner: LinearMap) -> LinearMap:
    """`outer` after `inner`, simplified where that makes the bounds tighter.

    A scale of each channel (input normalisation) before or after a dense layer or a convolution is folded
    into the kernel, so that its row norms are exact.
    """
    if isinstance(inner, Identity):
        return outer
    if isinstance(outer, Identity):
        return inner
    one = folded(outer, inner)
    return Composition(outer, inner, arithmetic=outer.arithmetic) if one is None else one


def folded(outer: LinearMap, inner: LinearMap) -> LinearMap | None:
    """Both as one map, where one of them is a scale that the other's coefficients can take; else `None`.

    A scale passes what only moves entries (sequences are images of one row) on its way to a kernel.
    """
    if isinstance(inner, DiagonalMap):
        return into(outer, inner.scale, False, lambda part, scale: part.scaled_in(scale), _composed)
    if isinstance(outer, DiagonalMap):
        return into(inner, outer.scale, True, lambda part, scale: part.scaled_out(scale), _composed)
    return None


def _composed(outer: LinearMap, inner: LinearMap) -> LinearMap:
    return Composition(outer, inner, arithmetic=outer.arithmetic)


def into(
    part: Any,
    scale: Tensor,
    behind: bool,
    fold: Callable[[Any, Tensor], Any],
    join: Callable[[Any, Any], Any],
) -> Any:
    """A composition with a scale in the kernel that is next to it; `None` where there is none.

    Args:
        part: A map, or what else has the parts `outer` and `inner` of a composition.
        scale: Tensor `(1, ...)`.
        behind: Whether the scale comes after the part, not before it.
        fold: From a part that is no composition and a scale to both as one, or `None`.
        join: Composes two parts.
    """
    if not isinstance(getattr(part, "map", part), Composition):
        return fold(part, scale)
    near, far = (part.outer, part.inner) if behind else (part.inner, part.outer)
    moving = getattr(near, "map", near)
    if moving.isometry:
        moved = _moved(moving, scale, behind)
        near_, far_ = near, None if moved is None else into(far, moved, behind, fold, join)
    else:
        near_, far_ = into(near, scale, behind, fold, join), far
    if near_ is None or far_ is None:
        return None
    return join(near_, far_) if behind else join(far_, near_)


def _moved(moving: LinearMap, scale: Tensor, back: bool) -> Tensor | None:
    """The scale on the other side of a map that moves entries, `None` where that is not one of channels."""
    xp, rank = moving.arithmetic, len(scale.shape)
    if isinstance(moving, PermuteMap):
        order = [0, *(axis + 1 for axis in moving.axes)]
        if back:
            order = sorted(range(rank), key=order.__getitem__)
        return xp.transpose(scale, order)
    shape, other = moving.in_shape, moving.out_shape
    same = isinstance(moving, ReshapeMap) and shape[-1:] == other[-1:]
    if not same or any(size != 1 for size in scale.shape[:-1]):
        return None
    return xp.reshape(scale, (*(1,) * len(shape if back else other), scale.shape[-1]))
