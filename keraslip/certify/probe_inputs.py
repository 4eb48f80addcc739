"""What the probe feeds: random images, what the network makes of them, and dense random numbers."""

import math
from typing import Any

import numpy as np

from keraslip.certify.network import Network
from keraslip.certify.one_step import OneStep

#: Inputs that no image leads to: large, and of many sizes from the smallest to the largest.
_LARGE, _SIZES = 20.0, (1e-4, 1e6)
#: Larger numbers are not fed to anything.
LARGEST_FED = 1e30


def images(model: Any, network: Network, rng: np.random.Generator) -> np.ndarray:
    """Random images in the range of the model's inputs and around it; the first is always the same.

    Args:
        model: The model.
        network: Its steps.
        rng: Draws the others.

    Returns:
        Array `(3, *shape)`, float32.
    """
    given = model.input_range if getattr(model, "compiled", False) else None
    low, high = given or (0.0, 1.0)
    shape = network.in_shape
    known = np.random.default_rng(0).uniform(low, high, shape)
    normal = (high - low) * rng.standard_normal(shape)
    return np.stack([known, rng.uniform(low, high, shape), normal]).astype("float32")


def fed_to_steps(
    network: Network, x: np.ndarray, rng: np.random.Generator
) -> tuple[dict[int, np.ndarray], list[OneStep]]:
    """Outputs of steps for the operations that read them, and what every operation makes of its inputs.

    Args:
        network: The network.
        x: Images.
        rng: Draws what is no image.

    Returns:
        By the index of a step the images' values, rounded to float32, with dense random ones below them; and
        the steps of every visited operation.
    """
    fed = {0: np.concatenate([x, _dense(network.in_shape, rng)]).astype("float32")}
    steps = []
    for visited in network.visited:
        step = OneStep(network, {node.index: fed[node.index] for node in visited.sources})
        output, _ = step.at(visited.node)
        steps.append(step)
        if visited.node.index not in fed:
            rows = np.concatenate([output[: len(x)], _dense(visited.node.shape, rng)])
            rows = np.where(np.abs(rows) < LARGEST_FED, rows, 1.0)  # also for NaN
            fed[visited.node.index] = rows.astype("float32")
    return fed, steps


def _dense(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random tensors `(5, *shape)`, entries on both sides of kinks and thresholds, near and far."""
    plain, large = rng.standard_normal(shape), _LARGE * rng.standard_normal(shape)
    sizes = np.geomspace(*_SIZES, math.prod(shape))
    many = rng.permutation(sizes).reshape(shape) * rng.choice([-1.0, 1.0], shape)
    return np.stack([plain, large, -large, many, -many])
