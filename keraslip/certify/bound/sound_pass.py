"""One sound pass: centers, rounding errors, boxes, slopes and radii of a batch, layer by layer."""

from functools import reduce

import numpy as np

from keraslip.activations import Activation
from keraslip.certify.bound.global_norms import Norms, global_norms
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, LinearNode, Node, SumNode
from keraslip.certify.bound.reach import ProvedBall, Reach, View
from keraslip.certify.norms.rounding import (
    FLOAT64,
    TINY,
    Execution,
    gamma,
    l2,
    per_sample,
    sum_error,
    times,
    up,
)
from keraslip.certify.operators import Operator, compose


class SoundPass:
    """Bounds a batch at one radius a sample.

    Invariant, by induction over the steps: for every x' with `||x' - x|| <= epsilon`, executed with the
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

    def _begin(
        self, network: Network, epsilon: np.ndarray, norms: Norms, execution: Execution, hard: bool
    ) -> None:
        self.network, self.epsilon, self.norms = network, epsilon, norms
        self.execution, self.hard = execution, hard
        self.centers: dict[int, np.ndarray] = {}
        self.errors: dict[int, np.ndarray] = {}
        self.balls: dict[int, ProvedBall] = {}
        #: Errors of some steps once more: a part entry by entry, and the L2 norm of the rest, `(batch,)`.
        self.split_errors: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        #: Of linear maps and sums: what the step itself rounds at the center, entry by entry, and the
        #: factor of what distance from the center adds to that.
        self.fresh: dict[int, tuple[np.ndarray, float]] = {}
        #: Whether no number can overflow, `(batch,)`.
        self.fits = np.ones(len(epsilon), dtype=bool)

    def _start(self, x: np.ndarray) -> None:
        self.centers[0], self.errors[0] = x, np.zeros_like(x)
        # A real-valued x' is rounded once when it enters the network.
        flushed = self.execution.smallest * np.sqrt(x[0].size)
        rounded = up(self.execution.unit * (l2(x) + self.epsilon) + flushed)
        self._fit(l2(x) + self.epsilon)
        reach = Reach(np.ones(len(x)), rounded)
        self.balls[0] = ProvedBall((View(reach, None),))

    def _fit(self, peak: np.ndarray) -> None:
        """Notes the samples in which a number of this magnitude may overflow."""
        self.fits &= (peak < self.execution.largest).reshape(len(peak), -1).all(axis=1)

    def box(self, node: Node) -> np.ndarray:
        """How far every entry of a step's output can be from its center, `(batch, *shape)`."""
        total = self.errors[node.index]
        for ball, operator in node.terms.items():
            total = total + self._entry_reach(self.balls[ball], operator)
        return up(total)

    def box_line(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        """The box as a line in the distance: gain and rounding of every entry, `(batch, *shape)`."""
        shape = self.centers[node.index].shape
        gain, rounding = np.zeros(shape), self.errors[node.index]
        for index, operator in node.terms.items():
            view = self.balls[index].views[0]
            norms = operator.row_norms(view.columns)
            gain = gain + times(per_sample(view.reach.gain, norms), norms)
            rounding = rounding + times(per_sample(view.reach.rounding, norms), norms)
        return up(gain), up(rounding)

    def _entry_reach(self, ball: ProvedBall, operator: Operator) -> np.ndarray:
        reaches = []
        for view in ball.views:
            norms = operator.row_norms(view.columns)
            reaches.append(times(per_sample(view.reach.at(self.epsilon), norms), norms))
        # One may have an axis of size 1 where another one depends on it.
        return np.asarray(reduce(np.minimum, reaches))

    def linear(self, node: LinearNode) -> None:
        """Carries the invariant through a linear map."""
        source, operator = node.sources[0], node.operator
        x, error = self.centers[source.index], self.errors[source.index]
        center = operator.forward(x)
        if operator.moves:
            self.centers[node.index], self.errors[node.index] = center, operator.forward(error)
            return
        magnitude = operator.absolute.forward(np.abs(x))
        if node.bias is not None:
            center, magnitude = center + node.bias, magnitude + np.abs(node.bias)
        own = gamma(operator.terms + 2, FLOAT64)
        sums, products = sum_error(operator.terms, self.execution.unit, operator.one_sum)
        written = products + operator.slack
        executed = sums + written
        moved = self._moved(source, operator) if executed else 0.0
        index = closed_ball(source)
        # A ball has its error in its radius, but for what an activation itself rounds.
        exact = index is not None and not error.any()
        carried = 0.0 if exact else operator.absolute.forward(error)
        around = 0.0 if index is None else carried
        reached = (1.0 + executed) * up(magnitude + moved + around, operator.terms)
        self._fit(reached * operator.swell if self.execution.unit else reached)
        flushed = operator.flushes * self.execution.smallest + operator.underflows
        flushed = flushed + self._vanishing(node)
        partial = 0.5 * (magnitude + np.abs(center)) + own * magnitude
        fresh = sums * partial + (written + own) * magnitude + flushed
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

    def _vanishing(self, node: LinearNode) -> np.ndarray | float:
        """What may be lost with coefficients below the smallest number; notes what overflows on the way."""
        smallest, largest = self.execution.smallest, self.execution.largest
        lost: np.ndarray | float = 0.0
        if smallest == 0.0 and largest == np.inf:
            return lost
        for source, operator in self._kernels(node):
            self.fits &= operator.greatest < largest
            vanishing = operator.vanishing(smallest)
            if operator.staged or vanishing is not None:
                reached = np.abs(self.centers[source.index]) + self.box(source)
                peak = reached.reshape(len(reached), -1).max(axis=1)
                self._fit(up(times(peak, operator.growth)))
                if vanishing is not None:
                    lost = lost + times(vanishing, per_sample(peak, vanishing))
        return lost

    def _kernels(self, node: LinearNode) -> list[tuple[Node, Operator]]:
        """The maps that may be multiplied out, each with the step that it reads."""
        nodes = {one.index: one for one in self.network.nodes}
        return [(nodes[index], operator) for index, operator in node.kernels]

    def _moved(self, source: Node, operator: Operator) -> np.ndarray:
        """Upper bound of `|W| |z' - z|` for every output."""
        index = closed_ball(source)
        if index is None:
            return up(operator.absolute.forward(self.box(source)), operator.terms)
        return self._entry_reach(self.balls[index], compose(operator.signless, source.terms[index]))

    def sum(self, node: SumNode) -> None:
        """Carries the invariant through a sum."""
        count = len(node.sources) + (node.constant is not None)
        center = sum(self.centers[source.index] for source in node.sources)
        error = sum(self.errors[source.index] for source in node.sources)
        magnitude = sum(np.abs(self.centers[source.index]) for source in node.sources)
        if node.constant is not None:
            center, magnitude = center + node.constant, magnitude + np.abs(node.constant)
        executed = gamma(count, self.execution.unit)
        moved = sum(self.box(source) for source in node.sources) if executed else 0.0
        rounding = (executed + gamma(count, FLOAT64)) * magnitude + executed * moved
        self.centers[node.index] = np.asarray(center)
        flushed = 4 * count * (self.execution.smallest + TINY * (magnitude > 0.0))
        fresh = (executed + gamma(count, FLOAT64)) * magnitude + flushed
        self.fresh[node.index] = up(fresh), executed
        self._fit((1.0 + executed) * (magnitude + moved))
        self.errors[node.index] = up(error + rounding + flushed)

    def activate(self, node: ActivationNode) -> None:
        """Closes a ball."""
        source = node.sources[0]
        z, error = self.centers[source.index], self.errors[source.index]
        rho = self.box(source)
        with np.errstate(over="ignore", invalid="ignore"):
            slopes = node.activation.slopes(z, rho, self.hard)
            output = node.activation.call(z)
        views = [
            View(self._closed(source, slopes.rows, error, self.norms), _or_none(slopes.columns))
        ]
        if slopes.high is not None and not self.hard:
            # The slopes once more, on the columns of the next map in place of the rows of this one.
            varies = slopes.columns
            plain = self._closed(source, varies, error, global_norms)
            views.append(View.of(plain, slopes.rows))
        self.centers[node.index] = output
        self.errors[node.index] = self._rounded(node.activation, z, rho, output)
        self.balls[node.index] = ProvedBall(tuple(views), z, rho, error, slopes)

    def _rounded(
        self, activation: Activation, z: np.ndarray, rho: np.ndarray, output: np.ndarray
    ) -> np.ndarray:
        """What an activation itself rounds, anywhere in the ball, entry by entry."""
        count, most = activation.roundings, activation.lipschitz
        if not count:
            return np.zeros_like(z)
        # Inside of the ball both numbers differ by as much as their radii.
        size = np.abs(output) + most * (np.abs(z) + 2.0 * rho)
        self._fit(size)
        flushed = count * (1.0 + most) * max(self.execution.smallest, TINY)
        return up((gamma(count, self.execution.unit) + gamma(count, FLOAT64)) * size + flushed)

    def _closed(self, source: Node, rows: np.ndarray, error: np.ndarray, norms: Norms) -> Reach:
        """Radius of `diag(rows) (z' - z)`."""
        none = np.zeros(len(rows))
        rounded = l2(times(rows, error))
        if source.index in self.split_errors:
            entries, rest = self.split_errors[source.index]
            rounded = np.minimum(rounded, up(l2(times(rows, entries)) + rest))
        total = Reach(none, rounded)
        for ball, operator in source.terms.items():
            view = self.balls[ball].views[0]
            norm = norms(operator, rows, view.columns)
            total = total + view.reach.times(norm)
        return total


def closed_ball(node: Node) -> int | None:
    """The ball that a step only moves entries of, or `None`."""
    while isinstance(node, LinearNode) and node.operator.moves:
        node = node.sources[0]
    return node.index if node.is_ball else None


def _or_none(columns: np.ndarray) -> np.ndarray | None:
    """`None` for weights that are all one: nothing to mask."""
    return None if (columns == 1.0).all() else columns
