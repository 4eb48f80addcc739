"""The whole model as it runs: compilers rewrite several operations at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip import backend
from keraslip.backend.structure import logits_of
from keraslip.certify.bound.network import Network, Visited
from keraslip.certify.bound.nodes import Forward
from keraslip.certify.execution.probe_inputs import LARGEST_FED
from keraslip.rules.walk import run

#: How much further the model may be off than errors of the size of the steps' bounds put it, random ones and
#: such as all have one sign: these bounds are ten to a thousand times what float32 does.
_ROOM = 32.0

Values = dict[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Outputs of all steps."""

    exact: Values  #: In float64, `(rows, *shape)`, by the step's index.
    limits: Values  #: How far executed ones may be from them, `(rows,)`.
    fits: np.ndarray  #: Rows in which no number can overflow.

    def holds(self, index: int, executed: np.ndarray) -> bool:
        """Whether an executed output is near enough."""
        exact = self.exact[index]
        if executed.shape != exact.shape:
            return False
        return bool((_largest(executed - exact) <= self.limits[index])[self.fits].all())


def trajectory(
    network: Network, x: np.ndarray, errors: Values, fits: np.ndarray, rng: np.random.Generator
) -> Trajectory:
    """What a model does to some inputs by its steps, and to errors of the size that these may have.

    Args:
        network: The steps.
        x: Inputs `(rows, *shape)`.
        errors: How far each step alone, executed, may be off at these inputs, by its index.
        fits: Rows `(rows,)` in which no step can overflow alone.
        rng: Draws errors.
    """
    exact = _forward(network, x.astype("float64"), lambda index, out: out)
    for out in exact.values():
        fits = fits & (_largest(out) < LARGEST_FED)  # false for NaN
    limits = {index: np.zeros(len(x)) for index in exact}
    for draw in (lambda shape: rng.uniform(-1.0, 1.0, shape), np.ones):

        def shaken(index: int, out: np.ndarray, draw: Any = draw) -> np.ndarray:
            return out + draw(out.shape) * errors.get(index, 0.0)

        for index, moved in _forward(network, x.astype("float64"), shaken).items():
            limits[index] = np.maximum(limits[index], _ROOM * _largest(moved - exact[index]))
    return Trajectory(exact, limits, fits)


def _largest(difference: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(difference).reshape(len(difference), -1).max(axis=1))


def _forward(
    network: Network, x: np.ndarray, change: Callable[[int, np.ndarray], np.ndarray]
) -> Values:
    run = Forward({0: x})
    for node in network.steps:
        run.values[node.index] = change(node.index, node.visit(run))
    return run.values


def wrong_ways(
    model: Any, network: Network, x: np.ndarray, steps: Trajectory
) -> Iterator[tuple[str, Visited, float]]:
    """Ways to run a model in which its logits are not those of its steps.

    With each, the first operation whose output is wrong if all before it are run with it, and how far the
    logits are off.
    """
    last = network.logits.index
    for way, compile_for in backend.ways_to_run().items():
        (logits,) = compile_for(model, lambda tensor: [logits_of(model, tensor)])(x)
        if steps.holds(last, logits):
            continue
        for count, visited in enumerate(network.visited, start=1):
            (output,) = compile_for(model, _beginning(network.visited[:count]))(x)
            if visited.node.index in steps.exact and not steps.holds(visited.node.index, output):
                break
        yield way, visited, float(np.abs(logits - steps.exact[last]).max())


def _beginning(visited: list[Visited]) -> Callable[[Any], list[Any]]:
    """A function from inputs to the output of the last of some operations."""

    def call(tensor: Any) -> list[Any]:
        known = {0: tensor}
        for one in visited:
            known[one.node.index] = run(one.on(known))
        return [known[visited[-1].node.index]]

    return call
