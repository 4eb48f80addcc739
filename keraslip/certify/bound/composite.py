"""The composite bound: class differences carried backwards through the slopes of the activations."""

import numpy as np

from keraslip.certify.bound.nodes import ActivationNode
from keraslip.certify.bound.reach import ProvedBall, Reach, View, smallest
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import TINY, UNIT64, gamma, inner, l2, times, up
from keraslip.certify.operators import Proved


def composite(found: SoundPass, samples: np.ndarray, label: np.ndarray, rival: np.ndarray) -> Reach:
    """Upper bound of how far the ball closes the gap between label and rival.

    The difference of two rows of the last layer goes back through the anchored slopes; what the slopes
    leave open is bounded by the radii that the pass knows. Stopping at any layer gives a bound; the smallest
    counts, so it is never worse than the product of norms.

    Returns:
        The bound as a `Reach` of `(pairs,)`; only the rounding of `logit_y - logit_j` itself is left out.
    """
    return _Backward(found, samples).run(label, rival)


class _Backward:
    def __init__(self, found: SoundPass, samples: np.ndarray) -> None:
        self.found, self.samples = found, samples
        self.epsilon = found.epsilon[samples]
        self.nothing = Reach(*np.zeros((2, len(samples))))
        #: Coefficients on the balls that are not passed yet.
        self.front: dict[int, np.ndarray] = {}
        #: Balls that nothing goes back through: the input, and activations that mix units.
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
        best = rest + self._stop()
        while waiting := [index for index in self.front if index not in self.stopped]:
            # Highest first: all that reads a ball has been passed by then.
            rest = rest + self._pass(network.activations[max(waiting)])
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
        ball, rows = self.found.balls[node.index], self.samples
        assert ball.z is not None and ball.rho is not None
        assert ball.slopes is not None and ball.error is not None
        c = self.front[node.index]
        support = node.activation.support(c, ball.z[rows], ball.rho[rows], ball.slopes.of(rows))
        if support is None:
            self.stopped.add(node.index)
            return self.nothing
        del self.front[node.index]
        slope, open_part = support
        rest = self._open(node, ball, times(np.abs(c), open_part))
        ahead, slope = c * slope, np.abs(slope)
        rest = rest.plus_rounding(inner(times(np.abs(c), slope), ball.error[rows]))
        for source, operator in node.sources[0].terms.items():
            rest = rest + self._lost_in(source, operator, ahead)
            self.front[source] = operator.adjoint(ahead) + self.front.get(source, 0.0)
        return rest

    def _lost_in(self, source: int, operator: Proved, ahead: np.ndarray) -> Reach:
        """The rounding of the product that carries coefficients back, and of the sum with those there."""
        size = operator.absolute.adjoint(np.abs(ahead)) + np.abs(self.front.get(source, 0.0))
        # Besides the products' sum: slope, coefficient times slope, a folded kernel, the sum in front.
        lost = up(l2(size) * gamma(operator.fan_out + 6, UNIT64), operator.fan_out)
        # And where coefficients or products are too small for float64.
        vanished = operator.norm * TINY * np.sqrt(operator.outputs) + operator.vanished
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
