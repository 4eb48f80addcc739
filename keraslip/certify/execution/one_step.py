"""Single steps on inputs that are known exactly: what float32 may make of them, and no more."""

import numpy as np

from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, LinearNode, Node
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.reach import ProvedBall, Reach, View
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import SMALLEST, Execution
from keraslip.certify.operators import Proved


class OneStep(SoundPass):
    """The steps of one operation at a point: a pass of radius zero that starts in the middle.

    Args:
        network: The network.
        known: Inputs `(rows, *shape)` by the index of the step that they are the output of.
    """

    def __init__(self, network: Network, known: dict[int, np.ndarray]) -> None:
        rows = len(next(iter(known.values())))
        self._begin(network, np.zeros(rows), global_norms, Execution.of("float32"), False)
        self.centers.update({index: x.astype("float64") for index, x in known.items()})
        self.errors.update({index: np.zeros(x.shape) for index, x in known.items()})
        self.balls = _Points(rows)

    def at(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        """Output of a step, and how far the executed one can be from it."""
        if node.index not in self.centers:
            for source in node.sources:
                self.at(source)
            node.visit(self)
        return self.centers[node.index], self.errors[node.index]

    def activate(self, node: ActivationNode) -> None:
        """The activation's ends over the error of its input."""
        source = node.sources[0].index
        z, error = self.centers[source], self.errors[source]
        output = node.activation.call(z)
        low, high = (output, output)
        if error.any():
            low, high = node.activation.range(z - error, z + error)
        own = self._rounded(node.activation, z, error, output)
        self.centers[node.index] = output
        self.errors[node.index] = np.maximum(high - output, output - low) + SMALLEST + own

    def _kernels(self, node: LinearNode) -> list[tuple[Node, Proved]]:
        return [(node.sources[0], node.operator)]

    def _moved(self, source: Node, operator: Proved) -> float:
        return 0.0

    def box(self, node: Node) -> np.ndarray:
        return self.errors[node.index]


class _Points(dict[int, ProvedBall]):
    """Every activation as a ball of radius zero."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._point = ProvedBall((View(Reach(np.zeros(rows), np.zeros(rows)), None),))

    def __missing__(self, index: int) -> ProvedBall:
        return self._point
