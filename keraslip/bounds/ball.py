"""The ball that every tensor carries, and sums of linear maps of balls that are still open."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from keras import ops

from keraslip.arithmetic import training
from keraslip.linear import DiagonalMap, Identity, LinearMap, Stack, Sum, compose
from keraslip.linear.magnitudes import hypotenuse
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class Ball:
    """A closed bound on one tensor z, for every x' with `||x' - x||_2 <= epsilon`.

    `||z(x') - center||_2 <= epsilon * gain`, `z_i(x') = center_i` wherever `varying_i` is 0, and `z(x')`
    lies in the box where that is known.
    """

    center: Tensor  #: The exact activation at the clean input, `(batch, *shape)`.
    #: Radius divided by epsilon, `(batch,)` or `(1,)`: the local Lipschitz bound up to here.
    gain: Tensor
    #: 1.0 where a unit may change, else 0.0; `(batch, *shape)`, or `None` for all ones.
    varying: Tensor | None = None
    #: Gives the smallest and largest value of each unit; a function, for few passes need it, or `None`.
    box: Callable[[], tuple[Tensor, Tensor]] | None = None
    #: As `gain`, with global norms; only the paper's mode needs it.
    global_gain: Tensor | None = None
    source: str = ""  #: Name of the place where it was closed.

    def moved_to(self, center: Tensor) -> "Ball":
        """The ball after a constant was added: its box moves along."""
        if self.box is None:
            return replace(self, center=center)
        shift, box = center - self.center, self.box
        return replace(self, center=center, box=lambda: tuple(side + shift for side in box()))

    def changes(self) -> tuple[Tensor, Tensor]:
        """Smallest (at most 0) and largest (at least 0) change of each unit; the box must be known."""
        assert self.box is not None
        lower, upper = self.box()
        return lower - self.center, upper - self.center


def moved(ball: Ball, move: Callable[[Tensor], Tensor]) -> Ball:
    """A ball whose entries were moved by an isometry that may add zeros."""
    box = ball.box
    return Ball(
        move(ball.center),
        ball.gain,
        None if ball.varying is None else move(ball.varying),
        None if box is None else lambda: tuple(move(side) for side in box()),
        ball.global_gain,
        ball.source,
    )


def dropped(ball: Ball, kept: Tensor, growth: Tensor) -> Ball:
    """A ball after dropout: what every unit is multiplied by, and the largest magnitude of that."""
    box = ball.box
    alive = ops.cast(ops.logical_not(kept == 0.0), kept.dtype)

    def moved_box() -> tuple[Tensor, Tensor]:
        assert box is not None
        low, high = (side * kept for side in box())
        return ops.minimum(low, high), ops.maximum(low, high)

    return Ball(
        ball.center * kept,
        ball.gain * growth,
        alive if ball.varying is None else ball.varying * alive,
        None if box is None else moved_box,
        None if ball.global_gain is None else ball.global_gain * growth,
        ball.source,
    )


@dataclass(frozen=True, eq=False)
class AffineForm:
    """A tensor written as its center plus linear maps of balls: `center + sum_s L_s (z_s - c_s)`.

    This is the state that travels through the network. A linear layer only composes its map; the next
    activation closes the form, so that `x + conv(x)` is bounded as the one map it is.
    """

    center: Tensor  #: The exact activation at the clean input, `(batch, *shape)`.
    #: Pairs of a ball and the pending map from it; no ball occurs twice.
    terms: tuple[tuple[Ball, LinearMap], ...]
    layers: tuple[str, ...] = ()  #: Names of the layers that the pending maps come from.
    #: Whether no two terms move one entry: lengths then add up as those of perpendicular vectors.
    disjoint: bool = False
    #: Tells forms from constants among the arguments of an operation.
    is_form: ClassVar[bool] = True

    @classmethod
    def closed(cls, ball: Ball) -> "AffineForm":
        """The form of a ball with nothing pending."""
        return cls(ball.center, ((ball, Identity(tuple(ball.center.shape[1:]))),))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.center.shape[1:])

    @property
    def ball(self) -> Ball | None:
        """The ball if nothing is pending, else `None`."""
        if len(self.terms) != 1 or not isinstance(self.terms[0][1], Identity):
            return None
        ball = self.terms[0][0]
        return ball if ball.center is self.center else ball.moved_to(self.center)

    def mapped(self, center: Tensor, linear_map: LinearMap, layer: str = "") -> "AffineForm":
        """The form after one more linear map."""
        terms = tuple((ball, compose(linear_map, pending)) for ball, pending in self.terms)
        entrywise = linear_map.copies or linear_map.isometry or isinstance(linear_map, DiagonalMap)
        disjoint = self.disjoint and entrywise
        return AffineForm(center, terms, (*self.layers, layer), disjoint)

    def together(self, gain: Tensor, other: Tensor) -> Tensor:
        """How far two of the terms move the tensor, of how far each of them does."""
        return hypotenuse(training, gain, other) if self.disjoint else gain + other

    def shifted(self, center: Tensor) -> "AffineForm":
        """The form with another center: a constant was added."""
        return replace(self, center=center)


def add_forms(center: Tensor, forms: list[AffineForm], disjoint: bool = False) -> AffineForm:
    """The form of a sum. Maps from the same ball are added before anything is bounded.

    Forms are disjoint if no two of them are anything but zero at one entry.
    """
    gathered: dict[int, tuple[Ball, list[LinearMap]]] = {}
    for form in forms:
        for ball, pending in form.terms:
            gathered.setdefault(id(ball), (ball, []))[1].append(pending)
    kind = Stack if disjoint else Sum
    terms = (
        (ball, maps[0] if len(maps) == 1 else kind(tuple(maps))) for ball, maps in gathered.values()
    )
    disjoint = disjoint and all(form.disjoint or len(form.terms) == 1 for form in forms)
    layers = (layer for form in forms for layer in form.layers)
    return AffineForm(center, tuple(terms), tuple(dict.fromkeys(layers)), disjoint)
