"""Worst-case logits: how far each class can gain on the true one inside the ball."""

from dataclasses import dataclass

from keras import ops

from keraslip.bounds.ball import AffineForm, Ball
from keraslip.bounds.numerics import l2_norm, per_sample, safe_sqrt
from keraslip.linear import LinearMap
from keraslip.typing import Tensor

#: Steps of the search for the dual's multiplier; any count is sound.
_DUAL_STEPS = 4
#: Multipliers and radii stay away from zero by this much, so that no quotient overflows.
_SMALL = 1e-15


def worst_case_logits(form: AffineForm, y: Tensor, epsilon: Tensor) -> Tensor:
    """`logit_j + sup (change of logit_j - logit_y)` for j != y, and `logit_y` itself.

    The supremum over the ball is bounded by the smallest of the ball's, the box's and the bound on their
    intersection. Only the row of class y is subtracted; class pairs are never built.

    Args:
        form: The logits, `(batch, K)`.
        y: One-hot labels, `(batch, K)`.
        epsilon: Radius of the input ball, `()` or `(batch,)`.

    Returns:
        Tensor `(batch, K)`.

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, equation 2 (worst logits of the last layer).
    """
    change = ops.zeros_like(form.center)
    for ball, pending in form.terms:
        change = change + _gain_on_label(ball, pending, y, epsilon)
    # The label's own entry is exact, and not NaN from infinity times zero.
    return ops.where(y > 0.5, form.center, form.center + change)


def label_margin(logits: Tensor, worst: Tensor, y: Tensor) -> Tensor:
    """Logit of class y minus the largest worst-case logit of another class, `(batch,)`.

    NaN where any number of the sample is not finite, so that no comparison can certify it.
    """
    label = ops.sum(ops.where(y > 0.5, logits, ops.zeros_like(logits)), axis=-1)
    others = ops.where(y > 0.5, ops.full_like(worst, float("-inf")), worst)
    finite = ops.all(ops.logical_and(ops.isfinite(logits), ops.isfinite(worst)), axis=-1)
    margin = label - ops.max(others, axis=-1)
    return ops.where(finite, margin, ops.full_like(margin, float("nan")))


def _gain_on_label(ball: Ball, pending: LinearMap, y: Tensor, epsilon: Tensor) -> Tensor:
    rows = pending.rows()
    g = ops.expand_dims(rows, 0) - ops.expand_dims(ops.matmul(y, rows), 1)  # (batch, K, n)
    if ball.varying is not None:
        g = g * _flat(ball.varying)
    radius = per_sample(epsilon * ball.gain, 2)
    in_ball = radius * ops.reshape(l2_norm(ops.reshape(g, (-1, g.shape[-1]))), (-1, g.shape[1]))
    if ball.box is None:
        return in_ball
    lower, upper = ball.changes()
    box = _Box(g, _flat(lower), _flat(upper))
    return ops.minimum(in_ball, ops.minimum(box.support(), box.support_in_ball(radius, in_ball)))


def _flat(x: Tensor) -> Tensor:
    """`(batch, *shape)` to `(batch, 1, n)`."""
    return ops.reshape(x, (ops.shape(x)[0], 1, -1))


@dataclass(frozen=True, eq=False)
class _Box:
    """Changes d with `lower <= d <= upper`, and the rows g whose gain `g . d` is maximised."""

    g: Tensor
    lower: Tensor
    upper: Tensor

    def support(self) -> Tensor:
        """max g . d over the box."""
        return ops.sum(ops.maximum(self.g * self.lower, self.g * self.upper), axis=-1)

    def _best(self, multiplier: Tensor) -> Tensor:
        d = self.g / ops.expand_dims(multiplier, -1)
        return ops.minimum(ops.maximum(d, self.lower), self.upper)

    def support_in_ball(self, radius: Tensor, in_ball: Tensor) -> Tensor:
        """An upper bound of max g . d over box and ball, by its dual.

        `(lam/2) r^2 + sum(g d - lam d^2 / 2)` at `d = clip(g / lam, lower, upper)` is an upper bound for
        every lam > 0, so the search for the best lam need not converge.
        """
        # ||g|| / r is the unclipped optimum; the best multiplier is below it.
        safe = ops.maximum(radius, _SMALL)
        lam = ops.clip(in_ball / safe / safe, _SMALL, 1.0 / _SMALL)
        for _ in range(_DUAL_STEPS):
            length = safe_sqrt(ops.sum(ops.square(self._best(lam)), axis=-1))
            lam = ops.maximum(lam * ops.minimum(length / safe, 1.0), _SMALL)
        lam = ops.stop_gradient(lam)
        d = self._best(lam)
        inner = self.g * d - 0.5 * ops.expand_dims(lam, -1) * ops.square(d)
        return 0.5 * lam * ops.square(radius) + ops.sum(inner, axis=-1)
