"""The local Lipschitz constant: hard masks, which hold between any two points of the ball."""

import secrets
from typing import Any

import numpy as np

from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.bound.norm_sources import LocalNorms
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.norms.rounding import Execution
from keraslip.certify.run.certifier import one_norm
from keraslip.certify.run.inputs import all_samples, blocks, empty, with_radii
from keraslip.certify.run.settings import Settings
from keraslip.input_range import untold


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
        with untold():  # by `all_samples`
            found = model.estimate(x, None, float(epsilon), "local", batch_size=batch_size)
        return np.asarray(found.lipschitz, dtype="float64")
    network, _ = network_of(model)
    one = one_norm(network, settings, np.random.default_rng(secrets.randbits(64)), 1)
    stream, count = blocks(model, x, None, settings.batch_size, steps)
    evaluate = Evaluator(network, Execution.of("float64"), batch_size)
    norms, parts = LocalNorms(False, one), []
    for block, radii in with_radii(stream, epsilon, count):
        around = block.radii(radii)
        label = np.zeros(len(block.x), dtype="int64")
        parts.append(evaluate(block.x, label, around, norms, hard=True).lipschitz)
    if not parts:
        raise empty()
    return np.concatenate(parts)
