"""The local Lipschitz constant: hard masks, which hold between any two points of the ball."""

import secrets
from typing import Any

import numpy as np

from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.bound.local_norms import LocalNorms, OneSample, probabilistic, proved
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.norms.rounding import Execution
from keraslip.certify.run.inputs import all_samples, blocks, empty, wrong_count
from keraslip.certify.run.settings import Settings


def local_lipschitz(
    model: Any,
    x: Any,
    epsilon: np.ndarray,
    guarantee: str,
    batch_size: int,
    steps: int | None = None,
) -> np.ndarray:
    """See `keraslip.LocalLipschitzModel.local_lipschitz`."""
    settings = Settings(guarantee=guarantee, batch_size=batch_size)
    if guarantee == "estimate":
        if epsilon.ndim:
            raise ValueError("guarantee='estimate' takes one epsilon for all samples.")
        x, _ = all_samples(model, x, None, steps)
        found = model.estimate(x, epsilon=float(epsilon), batch_size=batch_size)
        return np.asarray(found.lipschitz, dtype="float64")
    network, _ = network_of(model)
    one: OneSample = proved
    if guarantee == "probabilistic":
        calls = sum(1 for _ in network.operators())
        rng = np.random.default_rng(secrets.randbits(64))
        one = probabilistic(settings.delta / calls, rng)
    shape = tuple(model.inputs[0].shape[1:])
    stream, count = blocks(x, None, settings.batch_size, shape, network.classes, steps, model)
    if count is not None and epsilon.ndim and len(epsilon) != count:
        raise wrong_count(epsilon)
    evaluate = Evaluator(network, Execution.of("float64"), batch_size)
    norms, parts, first = LocalNorms(False, one), [], 0
    for block in stream:
        size = len(block.x)
        part = epsilon[first : first + size] if epsilon.ndim else np.full(size, float(epsilon))
        if len(part) != size:
            raise wrong_count(epsilon)
        part = block.radii(part)
        label = np.zeros(size, dtype="int64")
        parts.append(evaluate(block.x, label, part, norms, hard=True).lipschitz)
        first += size
    if not parts:
        raise empty()
    if epsilon.ndim and first != len(epsilon):
        raise wrong_count(epsilon)
    return np.concatenate(parts)
