"""The composite bound: class differences carried backwards through the slopes of the activations."""

from dataclasses import dataclass, replace

import numpy as np

from keraslip.certify.bound.comparing import Compared
from keraslip.certify.bound.nodes import ActivationNode, Node
from keraslip.certify.bound.reach import ProvedBall, Reach, View, smallest
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import TINY, UNIT64, gamma, inner, l2, times, up
from keraslip.certify.operators import Proved


def composite(found: SoundPass, samples: np.ndarray, label: np.ndarray, rival: np.ndarray) -> Reach:
    """Upper bound of how far the ball closes the gap between label and rival, a `Reach` of `(pairs,)`.

    The difference of two rows of the last layer goes back through the anchored slopes; what the slopes
    leave open is bounded by the radii that the pass knows. Stopping at any layer gives a bound; the smallest
    counts, so it is never worse than the product of norms. Only the rounding of `logit_y - logit_j` itself is
    left out.
    """
    return _Backward(found, samples).run(label, rival)


def entries_reach(found: SoundPass, node: ActivationNode, sample: int, places: np.ndarray) -> Reach:
    """Upper bounds of how far entries of what an activation reads move in one sample's ball (P11).

    At flat places `(1, entries)`; of pairs, `(2, entries)`, how far both move apart. A `Reach` of
    `(entries,)`: lines in the distance, the larger gain and rounding of both directions. The pass knows all
    balls before the node.
    """
    shape, entries = node.sources[0].shape, places.shape[1]
    c = np.zeros((entries, int(np.prod(shape))))
    for sign, place in zip((1.0, -1.0), places, strict=False):
        c[np.arange(entries), place] = sign
    c = np.concatenate([c, -c]).reshape(-1, *shape)
    both = _Backward(found, np.array([sample])).entries(node, c)
    gain, rounding = (part.reshape(2, -1).max(axis=0) for part in (both.gain, both.rounding))
    return Reach(gain, rounding)


@dataclass(frozen=True, eq=False)
class _Carried:
    """Coefficients behind an activation that were carried through it."""

    ahead: np.ndarray  #: On its inputs.
    passed: np.ndarray  #: Upper bounds of their magnitudes.
    size: np.ndarray  #: What their rounding is relative to.
    roundings: int  #: How many there are.
    rest: Reach  #: What is left open.


class _Backward:
    def __init__(self, found: SoundPass, samples: np.ndarray) -> None:
        self.found, self.samples = found, samples
        self.epsilon = found.epsilon[samples]
        self.nothing = Reach(*np.zeros((2, len(samples))))
        #: Coefficients on the balls that are not passed yet.
        self.front: dict[int, np.ndarray] = {}
        #: Balls that nothing goes back through: the input, and activations that mix units in ways unknown.
        self.stopped: set[int] = {0}

    def run(self, label: np.ndarray, rival: np.ndarray) -> Reach:
        network, pairs = self.found.network, np.arange(len(label))
        errors = self.found.logits_error[self.samples]
        rest = self.nothing.plus_rounding(errors[pairs, label] + errors[pairs, rival])
        for ball, (head, written, _) in network.heads.items():
            shape = self.found.centers[ball].shape[1:]
            self.front[ball] = (head[label] - head[rival]).reshape(-1, *shape)
            # The rows' own rounding, and that of their difference.
            size = up(written[label] + written[rival]) + gamma(2, UNIT64) * l2(self.front[ball])
            rest = rest + self._times(self.found.balls[ball].views[0], size)
        return self._down(rest)

    def entries(self, node: ActivationNode, c: np.ndarray) -> Reach:
        """How far `c . z` of what an activation reads can fall, for every row of c."""
        source, size = node.sources[0], np.abs(c)
        rest = self.nothing.plus_rounding(
            inner(size, self.found.errors[source.index][self.samples])
        )
        return self._down(self._enter(source, _Carried(c, size, size, 0, rest)))

    def _down(self, rest: Reach) -> Reach:
        """From the balls in front down to the input: the best place to stop."""
        best = rest + self._stop()
        while waiting := [index for index in self.front if index not in self.stopped]:
            # Highest first: all that reads a ball has been passed by then.
            rest = rest + self._pass(self.found.network.activations[max(waiting)])
            best = best.least(rest + self._stop(), self.epsilon)
        return best

    def _times(self, view: View, norm: np.ndarray) -> Reach:
        return view.reach.of(self.samples).times(norm)

    def _stop(self) -> Reach:
        """The bound if everything in front is bounded by the balls' radii."""
        total = self.nothing
        for ball, c in self.front.items():
            bounds = [
                self._times(
                    view,
                    l2(c if view.columns is None else times(np.abs(c), view.columns[self.samples])),
                )
                for view in self.found.balls[ball].views
            ]
            total = total + smallest(bounds, self.epsilon)
        return total

    def _pass(self, node: ActivationNode) -> Reach:
        """Carries the coefficients through an activation; returns what is left open on the way."""
        ball, c = self.found.balls[node.index], self.front[node.index]
        carried = self._through_units(node, ball, c) or self._through_comparisons(node, ball, c)
        if carried is None:
            self.stopped.add(node.index)
            return self.nothing
        del self.front[node.index]
        rest = carried.rest
        assert ball.error is not None
        rest = rest.plus_rounding(inner(carried.passed, ball.error[self.samples]))
        return self._enter(node.sources[0], replace(carried, rest=rest))

    def _enter(self, step: Node, carried: "_Carried") -> Reach:
        """Carries coefficients of a step's output to the balls it comes from; returns what is left open."""
        rest = carried.rest
        for source, operator in step.terms.items():
            rest = rest + self._lost_in(source, operator, carried)
            self.front[source] = operator.adjoint(carried.ahead) + self.front.get(source, 0.0)
        return rest

    def _through_units(
        self, node: ActivationNode, ball: ProvedBall, c: np.ndarray
    ) -> "_Carried | None":
        """Through an activation of every unit by itself."""
        rows = self.samples
        assert ball.z is not None and ball.rho is not None and ball.slopes is not None
        support = node.activation.support(c, ball.z[rows], ball.rho[rows], ball.slopes.of(rows))
        if support is None:
            return None
        slope, open_part = support
        ahead = c * slope
        # Slope, and coefficient times slope.
        rest = self._open(node, ball, times(np.abs(c), open_part))
        size = times(np.abs(c), np.abs(slope))
        return _Carried(ahead, size, size, 2, rest)

    def _through_comparisons(
        self, node: ActivationNode, ball: ProvedBall, c: np.ndarray
    ) -> "_Carried | None":
        """Through an activation that compares units: where the order is certain it moves them."""
        how = node.activation.comparisons(node.shape)
        if how is None:
            return None
        known, rows = self.found.compared, self.samples
        if node.index not in known:
            known[node.index] = Compared(self.found, node, how), self.found.before(node)
        compared, before = known[node.index]
        ahead, size, left = compared.back(c, rows)
        assert ball.slopes is not None
        least = ball.slopes.rows.reshape(len(ball.slopes.rows), -1)[:, how.groups].min(axis=2)
        rest = self.nothing
        for part in left:
            with np.errstate(divide="ignore", invalid="ignore"):
                scaled = np.where(part.weight == 0.0, 0.0, part.weight / least[rows])
            bounds = [
                before.of(rows).times(up(part.stretch * l2(part.weight))),
                self._times(ball.views[0], up(part.stretch * l2(scaled))),
                Reach(inner(part.weight, part.gain), inner(part.weight, part.rounding)),
            ]
            rest = rest + smallest(bounds, self.epsilon)
        passed = np.abs(ahead) + times(gamma(compared.roundings, UNIT64), size)
        return _Carried(ahead, passed, size, compared.roundings, rest)

    def _lost_in(self, source: int, operator: Proved, carried: "_Carried") -> Reach:
        """The rounding of the product that carries coefficients back, and of the sum with those there."""
        size = times(l2(carried.size), operator.absolute_norm)
        if source in self.front:
            size = size + l2(self.front[source])
        # Besides the products' sum: the coefficients themselves, a folded kernel, the sum in front.
        count = operator.fan_out + carried.roundings + 4
        lost = up(size * gamma(count, UNIT64))
        # And where coefficients or products are too small for float64.
        tiny = carried.roundings * TINY * np.sqrt(operator.outputs)
        vanished = operator.norm * tiny + operator.vanished
        return self._times(self.found.balls[source].views[0], up(lost + vanished))

    def _open(self, node: ActivationNode, ball: ProvedBall, weight: np.ndarray) -> Reach:
        """Smallest bound of `sum weight |z' - z|` over the ball."""
        assert ball.slopes is not None
        behind, before = ball.views
        most = ball.slopes.rows[self.samples]
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(weight == 0.0, 0.0, weight / most)
        gain, rounding = self.found.box_line(node.sources[0])
        rows = self.samples
        bounds = [
            self._times(before, l2(weight)),
            self._times(behind, l2(scaled)),
            Reach(inner(weight, gain[rows]), inner(weight, rounding[rows])),
        ]
        return smallest(bounds, self.epsilon)
