"""One sound pass: centers, rounding errors, boxes, slopes and radii of a batch, layer by layer."""

from functools import partial, reduce

import numpy as np

from keraslip.activations import Activation
from keraslip.certify.bound.known import Known
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, LinearNode, Node, SumNode, closed_ball
from keraslip.certify.bound.norm_sources import Norms, global_norms
from keraslip.certify.bound.reach import ProvedBall, Reach, View
from keraslip.certify.norms.rounding import (
    TINY,
    UNIT64,
    Execution,
    gamma,
    sum_error,
)
from keraslip.certify.operators import Proved, compose
from keraslip.typing import Tensor


class SoundPass(Known):
    """Bounds a batch at one radius a sample.

    Invariant (P1), by induction over the steps: for every x' with `||x' - x|| <= epsilon`, executed with the
    given unit roundoff in any order of summation, a step's output is
    `center + sum_b L_b (z_b' - c_b) + e` with `|e| <= error` entry by entry.

    Args:
        network: The network.
        x: Inputs `(batch, *shape)`, float64.
        epsilon: Radii `(batch,)`.
        norms: Where norms come from.
        execution: How the network is executed.
        hard: Slopes 0 and 1 only, which hold between any two points of the ball.
    """

    def __init__(
        self,
        network: Network,
        x: np.ndarray,
        epsilon: np.ndarray,
        norms: Norms,
        execution: Execution,
        hard: bool = False,
    ) -> None:
        self._begin(network, epsilon, norms, execution, hard)
        self._start(x)
        for node in network.steps:
            node.visit(self)
        self.logits = self.centers[network.logits.index]
        errors = self.errors[network.logits.index]
        self.logits_error = np.where(self.fits[:, None], errors, np.inf)

    def _start(self, x: np.ndarray) -> None:
        u, xp = self.upwards, self.upwards.arithmetic
        self.centers[0], self.errors[0] = x, xp.zeros_like(x)
        size = u.l2(x) + self.epsilon
        rounded = self._rounded_input(size)
        self._fit(size)
        reach = Reach(xp.ones_like(self.epsilon), rounded, u)
        self.balls[0] = ProvedBall((View(reach, None),))

    def box(self, node: Node) -> Tensor:
        """How far every entry of a step's output can be from its center, `(batch, *shape)`."""
        total = self.errors[node.index]
        for ball, operator in node.terms.items():
            total = total + self._entry_reach(self.balls[ball], operator)
        return self.upwards.up(total)

    def linear(self, node: LinearNode) -> None:
        """Carries the invariant through a linear map."""
        source, operator = node.sources[0], node.operator
        up, times, xp = self.upwards.up, self.upwards.times, self.upwards.arithmetic
        applied = self._in(operator)
        x, error = self.centers[source.index], self.errors[source.index]
        center = applied.forward(x)
        if operator.copies:
            self.centers[node.index], self.errors[node.index] = center, applied.forward(error)
            return
        magnitude = applied.absolute.forward(xp.abs(x))
        if node.bias is not None:
            bias = xp.constant(node.bias)
            center, magnitude = center + bias, magnitude + xp.abs(bias)
        own = gamma(operator.terms + 2, UNIT64)
        # (P2)
        sums, products = sum_error(operator.terms, self.execution.unit, operator.one_sum)
        written = products + operator.slack
        executed = sums + written
        moved = self._moved(source, operator) if executed else 0.0
        index = closed_ball(source)
        # A ball has its error in its radius, but for what an activation itself rounds.
        exact = index is not None and self._is_exact(index, error)
        carried = 0.0 if exact else applied.absolute.forward(error)
        around = 0.0 if index is None else carried
        reached = (1.0 + executed) * up(magnitude + moved + around, operator.terms)
        self._fit(reached * operator.swell if self.execution.unit else reached)
        # (P7)
        flushed = applied.flushes * self.execution.smallest + applied.underflows
        flushed = flushed + self._vanishing(node)
        larger = 0.5 * (magnitude + xp.abs(center)) + own * magnitude
        fresh = sums * larger + (written + own) * magnitude + flushed
        at_center = up(carried + executed * around + fresh, operator.terms)
        self.fresh[node.index] = up(fresh, operator.terms), executed
        self.centers[node.index] = center
        self.errors[node.index] = up(at_center + executed * moved)
        if executed and index is not None:
            # The part that grows with the ball is often smaller as a vector than entry by entry.
            reach = self.balls[index].views[0].reach.at(self.epsilon)
            self.split_errors[node.index] = (
                at_center,
                up(times(executed * operator.absolute_norm, reach)),
            )

    def _vanishing(self, node: LinearNode) -> Tensor:
        """What may be lost with coefficients below the smallest number; notes what overflows on the way."""
        u, smallest, most = self.upwards, self.execution.smallest, self.execution.largest
        lost: Tensor = 0.0
        if smallest == 0.0 and most == np.inf:
            return lost
        for source, operator in self._kernels(node):
            if not operator.greatest < most:
                self.fits = self.fits & False
            vanishing = operator.vanishing(smallest)
            if operator.staged or vanishing is not None:
                peak = u.largest(u.arithmetic.abs(self.centers[source.index]) + self.box(source))
                self._fit(u.up(u.times(peak, operator.growth)))
                if vanishing is not None:
                    sums = u.arithmetic.constant(vanishing)
                    lost = lost + u.times(sums, u.per_sample(peak, sums))
        return lost

    def _kernels(self, node: LinearNode) -> list[tuple[Node, Proved]]:
        """The maps that may be multiplied out, each with the step that it reads."""
        nodes = {one.index: one for one in self.network.nodes}
        return [(nodes[index], operator) for index, operator in node.kernels]

    def _moved(self, source: Node, operator: Proved) -> Tensor:
        """Upper bound of `|W| |z' - z|` for every output."""
        index = closed_ball(source)
        if index is None:
            moved = self._in(operator).absolute.forward(self.box(source))
            return self.upwards.up(moved, operator.terms)
        return self._entry_reach(self.balls[index], compose(operator.signless, source.terms[index]))

    def sum(self, node: SumNode) -> None:
        """Carries the invariant through a sum."""
        count = len(node.sources) + (node.constant is not None) if node.rounds else 0
        up, xp = self.upwards.up, self.upwards.arithmetic
        center = sum(self.centers[source.index] for source in node.sources)
        error = sum(self.errors[source.index] for source in node.sources)
        magnitude = sum(xp.abs(self.centers[source.index]) for source in node.sources)
        if node.constant is not None:
            constant = xp.constant(node.constant)
            center, magnitude = center + constant, magnitude + xp.abs(constant)
        executed = gamma(count, self.execution.unit)
        moved = sum(self.box(source) for source in node.sources) if executed else 0.0
        rounding = (executed + gamma(count, UNIT64)) * magnitude + executed * moved
        self.centers[node.index] = center
        some = xp.indicator(magnitude > 0.0, magnitude)
        flushed = 4 * count * (self.execution.smallest + TINY * some)
        fresh = (executed + gamma(count, UNIT64)) * magnitude + flushed
        self.fresh[node.index] = up(fresh), executed
        self._fit((1.0 + executed) * (magnitude + moved))
        self.errors[node.index] = up(error + rounding + flushed)

    def activate(self, node: ActivationNode) -> None:
        """Closes a ball."""
        source, activation = node.sources[0], self._formula(node.activation)
        z, error = self.centers[source.index], self.errors[source.index]
        rho = self.box(source)
        with np.errstate(over="ignore", invalid="ignore"):
            slopes = activation.slopes(z, rho, self.hard)
            output = activation.call(z)
        reach = self._closed(source, slopes.rows, error, self.norms)
        views = [View(reach, self._weights(slopes.columns))]
        if slopes.high is not None and not self.hard:
            # The slopes once more, on the columns of the next map in place of the rows of this one.
            varies = slopes.columns
            plain = self._closed(source, varies, error, partial(global_norms, upwards=self.upwards))
            views.append(View.of(plain, slopes.rows, node.activation.lipschitz))
        self.centers[node.index] = output
        self.errors[node.index] = self._rounded(node.activation, z, rho, output)
        self.balls[node.index] = ProvedBall(tuple(views), z, rho, error, slopes)

    def _rounded(self, activation: Activation, z: Tensor, rho: Tensor, output: Tensor) -> Tensor:
        """What an activation itself rounds, anywhere in the ball, entry by entry."""
        up, xp = self.upwards.up, self.upwards.arithmetic
        count, most = activation.roundings, activation.lipschitz
        if not count:
            return xp.zeros_like(z)
        # Inside of the ball both numbers differ by as much as their radii.
        size = activation.offset + xp.abs(output) + most * (xp.abs(z) + 2.0 * rho)
        self._fit(activation.peak(size))
        flushed = count * (1.0 + most) * max(self.execution.smallest, TINY)
        return up((gamma(count, self.execution.unit) + gamma(count, UNIT64)) * size + flushed)

    def before(self, node: ActivationNode) -> Reach:
        """Radius of all that an activation reads, by global norms."""
        source = node.sources[0]
        plain = partial(global_norms, upwards=self.upwards)
        one = self.upwards.arithmetic.ones_like(self.centers[source.index])
        return self._closed(source, one, self.errors[source.index], plain)

    def _closed(self, source: Node, rows: Tensor, error: Tensor, norms: Norms) -> Reach:
        """Radius of `diag(rows) (z' - z)` (P4)."""
        u, xp = self.upwards, self.upwards.arithmetic
        none = xp.zeros_like(self.epsilon)
        rounded = u.l2(u.times(rows, error))
        if source.index in self.split_errors:
            entries, rest = self.split_errors[source.index]
            # Rows may weigh more than 1.
            rest = u.times(rest, u.largest(rows))
            rounded = xp.minimum(rounded, u.up(u.l2(u.times(rows, entries)) + rest))
        reaches = []
        for ball, operator in source.terms.items():
            view = self.balls[ball].views[0]
            reaches.append(view.reach.times(norms(operator, rows, view.columns)))
        join = Reach.beside if source.disjoint else Reach.__add__
        return Reach(none, rounded, u) + reduce(join, reaches)
