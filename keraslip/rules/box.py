"""Where every unit of a form can be in the ball."""

from collections.abc import Iterator
from dataclasses import dataclass

from keras import ops

from keraslip.activations import Activation, Slopes
from keraslip.bounds.ball import AffineForm
from keraslip.bounds.numerics import per_sample
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class Box:
    """Every unit within a distance of its middle, which is the center but where two boxes were cut."""

    middle: Tensor
    reach: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        """Smallest and largest value of every unit."""
        yield self.middle - self.reach
        yield self.middle + self.reach

    @classmethod
    def around(
        cls, form: AffineForm, epsilon: Tensor, masked: bool, tight: bool, paper: bool
    ) -> "Box":
        """By the balls' radii and norms of rows; for the `paper` global ones, cut with intervals."""
        rank = len(form.shape) + 1
        reach = 0.0
        for ball, pending in form.terms:
            gain = ball.global_gain if paper else ball.gain
            norms = pending.row_norms(ball.varying if masked else None, tight)
            reach = reach + per_sample(epsilon * gain, rank) * norms
        if not paper or any(ball.box is None for ball, _ in form.terms):
            return cls(form.center, reach)
        middle, half = 0.0, 0.0
        for ball, pending in form.terms:
            low, high = ball.changes()
            middle = middle + pending.forward(0.5 * (high + low))
            half = half + pending.absolute().forward(0.5 * (high - low))
        center = form.center + middle
        lower = ops.maximum(form.center - reach, center - half)
        upper = ops.minimum(form.center + reach, center + half)
        return cls(0.5 * (lower + upper), 0.5 * (upper - lower))


def masks(activation: Activation, box: Box) -> Slopes:
    """Weights for any two points of a box, without gradients."""
    middle = ops.stop_gradient(box.middle)
    reach = ops.broadcast_to(ops.stop_gradient(box.reach), ops.shape(middle))
    return activation.constant().kept(middle, reach)
