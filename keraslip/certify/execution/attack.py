"""Attacks on some samples, in batches of few sizes."""

from typing import Any

import numpy as np

from keraslip.attacks import pgd_l2
from keraslip.attacks.checks import model_range, range_around
from keraslip.certify.norms.rounding import LARGEST

#: Where in the ball of a certified radius an attack ends: no rounding of the search reaches so far.
INSIDE = 0.999
#: Steps of an attack on what is not certified, and on what is.
STEPS, ALARM_STEPS = 20, 10


def attacked(
    model: Any,
    x: np.ndarray,
    label: np.ndarray,
    epsilon: np.ndarray,
    batch_size: int,
    valid: bool,
    seed: int = 0,
    steps: int = STEPS,
) -> np.ndarray:
    """Points that an attack found, in batches of few sizes: each of them may be compiled.

    Points that are `valid` stay in the range of valid inputs where x is; certificates do not. They are of
    float32, and no further than epsilon away in float64.
    """
    size = min(batch_size, max(16, 1 << (len(x) - 1).bit_length()))
    filled = np.resize(np.arange(len(x)), max(1, -(-len(x) // size)) * size)
    points = pgd_l2(
        model,
        x[filled],
        label[filled],
        # Further away no float32 is left to attack with.
        np.minimum(epsilon[filled], np.sqrt(LARGEST)),
        steps=steps,
        input_range=range_around(x, model_range(model)) if valid else None,
        batch_size=size,
        seed=seed,
        verbose=False,
    )
    return points[: len(x)]
