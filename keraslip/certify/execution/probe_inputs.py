"""What the probe feeds: random images, what the network makes of them, and dense random numbers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip.certify.bound.network import Network, Visited
from keraslip.certify.bound.nodes import ActivationNode, LinearNode, Node
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.reach import ProvedBall, Reach, View
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import SMALLEST, Execution
from keraslip.certify.operators import Proved
from keraslip.input_range import expected_range


class OneStep(SoundPass):
    """The steps of one operation at a point: a pass of radius zero that starts in the middle.

    Inputs `(rows, *shape)` are `known` by the index of the step that they are the output of.
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


#: Inputs that no image leads to: large, and of many sizes from the smallest to the largest.
_LARGE, _SIZES = 20.0, (1e-4, 1e6)
#: Larger numbers are not fed to anything.
LARGEST_FED = 1e30


@dataclass(frozen=True, eq=False)
class Expected:
    """What an operation should make of its inputs."""

    visited: Visited
    #: Its inputs, in float32, by the index of the step that they are the output of.
    fed: dict[int, np.ndarray]
    exact: np.ndarray  #: Outputs `(rows, *shape)`, in float64.
    allowed: np.ndarray  #: How far rounding may put executed ones from them.
    fits: np.ndarray  #: Rows in which no number can overflow.
    #: The same of every step that it is made of, for the images alone, by the step's index.
    errors: dict[int, np.ndarray]


def images(model: Any, network: Network, rng: np.random.Generator) -> np.ndarray:
    """An image in the range of the model's inputs, always the same, and a random one around it."""
    low, high = _range(model)
    known = np.random.default_rng(0).uniform(low, high, network.in_shape)
    wide = low + (high - low) * rng.standard_normal(network.in_shape)
    return np.stack([known, wide]).astype("float32")


def expected(network: Network, x: np.ndarray, rng: np.random.Generator) -> Iterator[Expected]:
    """What every operation makes of images, and of dense random inputs below them.

    The images' values are rounded to float32 before they are fed to what comes next.
    """
    n = len(x)
    fed = {0: np.concatenate([x, _dense(network.in_shape, rng)]).astype("float32")}
    for visited in network.visited:
        known = {node.index: fed[node.index] for node in visited.sources}
        step = OneStep(network, known)
        exact, allowed = step.at(visited.node)
        # Copies: the rows below them need not be kept.
        errors = {i: error[:n].copy() for i, error in step.errors.items() if i not in known}
        if visited.node.index not in fed:
            rows = np.concatenate([exact[:n], _dense(visited.node.shape, rng)])
            rows = np.where(np.abs(rows) < LARGEST_FED, rows, 1.0)  # also for NaN
            fed[visited.node.index] = rows.astype("float32")
        yield Expected(visited, known, exact, allowed, step.fits, errors)


def probes(model: Any, count: int) -> np.ndarray:
    """Dense random inputs in the range of the model's, the same at every call, `(count, *shape)`."""
    shape = (count, *model.inputs[0].shape[1:])
    return np.random.default_rng(0).uniform(*_range(model), shape).astype("float32")


def _range(model: Any) -> tuple[float, float]:
    return expected_range(model) or (0.0, 1.0)


def _dense(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random tensors `(5, *shape)`, entries on both sides of kinks and thresholds, near and far."""
    plain, large = rng.standard_normal(shape), _LARGE * rng.standard_normal(shape)
    sizes = np.geomspace(*_SIZES, math.prod(shape))
    many = rng.permutation(sizes).reshape(shape) * rng.choice([-1.0, 1.0], shape)
    return np.stack([plain, large, -large, many, -many])
