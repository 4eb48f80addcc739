"""What the probe feeds: random images, what the network makes of them, and dense random numbers."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip.certify.bound.network import Network
from keraslip.certify.execution.one_step import OneStep

#: Inputs that no image leads to: large, and of many sizes from the smallest to the largest.
_LARGE, _SIZES = 20.0, (1e-4, 1e6)
#: Larger numbers are not fed to anything.
LARGEST_FED = 1e30


@dataclass(frozen=True, eq=False)
class Expected:
    """What an operation should make of its inputs."""

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


def fed_to_steps(
    network: Network, x: np.ndarray, rng: np.random.Generator
) -> tuple[dict[int, np.ndarray], list[Expected]]:
    """Outputs of steps for the operations that read them, and what every operation makes of its inputs.

    Returns:
        By the index of a step the images' values, rounded to float32, with dense random ones below them; and
        what to expect of every visited operation.
    """
    n = len(x)
    fed = {0: np.concatenate([x, _dense(network.in_shape, rng)]).astype("float32")}
    found = []
    for visited in network.visited:
        known = {node.index: fed[node.index] for node in visited.sources}
        step = OneStep(network, known)
        exact, allowed = step.at(visited.node)
        errors = {i: error[:n] for i, error in step.errors.items() if i not in known}
        found.append(Expected(exact, allowed, step.fits, errors))
        if visited.node.index not in fed:
            rows = np.concatenate([exact[:n], _dense(visited.node.shape, rng)])
            rows = np.where(np.abs(rows) < LARGEST_FED, rows, 1.0)  # also for NaN
            fed[visited.node.index] = rows.astype("float32")
    return fed, found


def probes(model: Any, count: int) -> np.ndarray:
    """Dense random inputs in the range of the model's, the same at every call, `(count, *shape)`."""
    shape = (count, *model.inputs[0].shape[1:])
    return np.random.default_rng(0).uniform(*_range(model), shape).astype("float32")


def _range(model: Any) -> tuple[float, float]:
    given = model.input_range if getattr(model, "compiled", False) else None
    return given or (0.0, 1.0)


def _dense(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random tensors `(5, *shape)`, entries on both sides of kinks and thresholds, near and far."""
    plain, large = rng.standard_normal(shape), _LARGE * rng.standard_normal(shape)
    sizes = np.geomspace(*_SIZES, math.prod(shape))
    many = rng.permutation(sizes).reshape(shape) * rng.choice([-1.0, 1.0], shape)
    return np.stack([plain, large, -large, many, -many])
