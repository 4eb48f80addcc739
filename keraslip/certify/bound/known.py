"""What a pass knows so far: centers, errors, balls, and the boxes that follow from them."""

from functools import reduce
from typing import Any

import numpy as np

from keraslip.activations import Activation
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import Node
from keraslip.certify.bound.norm_sources import Norms
from keraslip.certify.bound.reach import ProvedBall
from keraslip.certify.norms.rounding import Execution, per_sample, times, up
from keraslip.certify.operators import NUMPY, Proved, Upwards
from keraslip.typing import Tensor


class Known:
    """The state of a pass, by the steps' indices; whoever visits the steps fills it."""

    #: What the pass computes with; that of an exported graph overrides it.
    upwards: Upwards = NUMPY

    def _begin(
        self, network: Network, epsilon: Tensor, norms: Norms, execution: Execution, hard: bool
    ) -> None:
        self.network, self.epsilon, self.norms = network, epsilon, norms
        self.execution, self.hard = execution, hard
        self.centers: dict[int, Tensor] = {}
        self.errors: dict[int, Tensor] = {}
        self.balls: dict[int, ProvedBall] = {}
        #: Errors of some steps once more: a part entry by entry, and the L2 norm of the rest, `(batch,)`.
        self.split_errors: dict[int, tuple[Tensor, Tensor]] = {}
        #: Of linear maps and sums: what the step itself rounds at the center, entry by entry, and the
        #: factor of what distance from the center adds to that.
        self.fresh: dict[int, tuple[Tensor, float]] = {}
        #: What the composite bound knows of activations that compare entries: kept for the next pairs.
        self.compared: dict[int, Any] = {}
        #: Boxes as lines, by step, see `box_line`; and how far two columns of what an activation compares
        #: move apart at most, by its index and theirs: gain, rounding, and at epsilon, `(3, batch, groups)`.
        self.lines: dict[int, tuple[np.ndarray, ...]] = {}
        self.nearer: dict[tuple[int, int, int], np.ndarray] = {}
        #: Whether no number can overflow, `(batch,)`.
        self.fits = epsilon == epsilon

    def _fit(self, peak: Tensor) -> None:
        """Notes the samples in which a number of this magnitude may overflow."""
        self.fits = self.fits & (self.upwards.largest(peak) < self.execution.largest)

    # --- What is done otherwise in another arithmetic

    def _in(self, operator: Proved) -> Any:
        """An operator on the tensors of this pass."""
        return operator

    def _rounded_input(self, size: Tensor) -> Tensor:
        """A real-valued x' of at most this size is rounded once when it enters the network."""
        flushed = self.execution.smallest * np.prod(self.network.in_shape) ** 0.5
        return self.upwards.up(self.execution.unit * size + flushed)

    def _formula(self, activation: Activation) -> Activation:
        """An activation on the tensors of this pass."""
        return activation

    def _is_exact(self, ball: int, error: Tensor) -> bool:
        """Whether a ball has all of its error in its radius: its activation, if any, rounds nothing."""
        return not error.any()

    def _weights(self, columns: Tensor) -> Tensor | None:
        """`None` for weights that are all one: nothing to mask."""
        return None if (columns == 1.0).all() else columns

    # --- Boxes

    def box_line(self, node: Node) -> tuple[np.ndarray, ...]:
        """The box as a line in the distance: gain and rounding of every entry, `(batch, *shape)`."""
        if node.index not in self.lines:
            self.lines[node.index] = self._line(node)
        return self.lines[node.index]

    def _line(self, node: Node) -> tuple[np.ndarray, ...]:
        shape = self.centers[node.index].shape
        gain, rounding = np.zeros(shape), self.errors[node.index]
        for index, operator in node.terms.items():
            view = self.balls[index].views[0]
            norms = operator.row_norms(view.columns)
            gain = gain + times(per_sample(view.reach.gain, norms), norms)
            rounding = rounding + times(per_sample(view.reach.rounding, norms), norms)
        return up(gain), up(rounding)

    def _entry_reach(self, ball: ProvedBall, operator: Proved) -> Tensor:
        u, applied = self.upwards, self._in(operator)
        reaches = []
        for view in ball.views:
            norms = applied.row_norms(view.columns)
            reaches.append(u.times(u.per_sample(view.reach.at(self.epsilon), norms), norms))
        # One may have an axis of size 1 where another one depends on it.
        return reduce(u.arithmetic.minimum, reaches)
