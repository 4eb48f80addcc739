"""How far executed logits may be off at the center of a ball, where nothing grows with the ball."""

import numpy as np

from keraslip.certify.bound.nodes import ActivationNode, LinearNode, Node, SumNode, closed_ball
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import l2, per_sample, times, up
from keraslip.certify.operators import compose


def center_error(found: SoundPass) -> np.ndarray:
    """How far the executed logits of x itself may be from those of a pass, `(batch, classes)`.

    The invariant of the pass at the single point x, whatever the pass' epsilon is, from what each step
    rounds by itself. A pass at epsilon 0 would say about the same and cost a whole pass.
    """
    return _AtCenter(found).logits()


class _AtCenter:
    def __init__(self, found: SoundPass) -> None:
        self.found = found
        x, smallest = found.centers[0], found.execution.smallest
        #: L2 distance of every ball from its center. The input is exact, but for numbers that are flushed.
        self.reach = {0: np.full(len(x), smallest * np.sqrt(x[0].size))}
        #: Error of every step entry by entry, without the radii of the balls; `None` for none.
        self.errors: dict[int, np.ndarray | None] = {0: None}
        for node in found.network.steps:
            self.errors[node.index] = node.visit(self)

    def logits(self) -> np.ndarray:
        """Error of the logits; infinite where a number could overflow."""
        total = np.broadcast_to(self._box(self.found.network.logits), self.found.logits.shape)
        return np.where(self.found.fits[:, None], total, np.inf)

    def _box(self, node: Node) -> np.ndarray:
        """How far every entry of a step's output can be off."""
        error = self.errors[node.index]
        total = np.zeros((1, *node.shape)) if error is None else error
        for ball, operator in node.terms.items():
            # Rows of the whole map: their norms are the same for every sample.
            norms = operator.row_norms()
            total = total + times(per_sample(self.reach[ball], norms), norms)
        return up(total)

    def linear(self, node: LinearNode) -> np.ndarray | None:
        source, operator = node.sources[0], node.operator
        error = self.errors[source.index]
        if operator.copies:
            return None if error is None else operator.forward(error)
        fresh, executed = self.found.fresh[node.index]
        index = closed_ball(source)
        if index is None:
            carried = executed * self._box(source)
            carried = carried if error is None else carried + error
            carried = up(operator.absolute.forward(carried), operator.terms)
        else:
            norms = compose(operator.signless, source.terms[index]).row_norms()
            carried = executed * times(per_sample(self.reach[index], norms), norms)
            if error is not None:
                carried = carried + operator.absolute.forward((1.0 + executed) * error)
                carried = up(carried, operator.terms)
        return up(fresh + carried)

    def sum(self, node: SumNode) -> np.ndarray:
        total, executed = self.found.fresh[node.index]
        for source in node.sources:
            error = self.errors[source.index]
            total = total + executed * self._box(source)
            total = total if error is None else total + error
        return up(total)

    def activate(self, node: ActivationNode) -> np.ndarray | None:
        self.reach[node.index] = self._closed(node)
        own = self.found.errors[node.index]
        return own if own.any() else None

    def _closed(self, node: ActivationNode) -> np.ndarray:
        """The activation's own distance: its slopes in the whole ball hold at the center, too."""
        source, slopes = node.sources[0], self.found.balls[node.index].slopes
        error = self.errors[source.index]
        assert slopes is not None
        total = np.zeros(len(slopes.rows)) if error is None else l2(times(slopes.rows, error))
        for ball, operator in source.terms.items():
            most = max(1.0, node.activation.lipschitz)
            total = total + times(self.reach[ball], np.asarray(operator.norm * most))
        return up(total)
