"""Points of balls that are likely to leave a wrong bound."""

from typing import Any

import keras
import numpy as np

from keraslip.attacks import pgd_l2
from keraslip.testing.claims import Pass
from keraslip.typing import Array


def points_in_ball(x: Array, epsilon: float, count: int, seed: int = 0) -> Array:
    """Points in the ball around one flat input: the sphere, the inside, axes and diagonals."""
    rng = np.random.default_rng(seed)
    d = rng.normal(size=(count, x.size))
    sparse = d * (rng.uniform(size=d.shape) < 0.2)
    d = np.concatenate([d, sparse, np.sign(d), np.eye(x.size), -np.eye(x.size)])
    d /= np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-300)
    inner = d[:count] * rng.uniform(size=(count, 1))
    return np.asarray(x + epsilon * (1 - 1e-12) * np.concatenate([d, inner]))


def points_in_balls(
    model: keras.Model, x: Array, epsilon: float, result: Pass, count: int, attacks: bool
) -> Array:
    """Points `(samples, points, *shape)`: random, at corners, along rows of the first map, and attacked.

    What a pass claims gives directions that move single units most; attacks go towards every class.
    """
    rows = np.zeros((0, x[0].size))
    if result.layers and result.layers[0].rows[0].size == x[0].size:
        rows = result.layers[0].rows.reshape(-1, x[0].size).astype("float64")
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = epsilon * np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    found = np.stack(
        [
            np.concatenate([points_in_ball(v, epsilon, count, seed=s), v + rows, v - rows])
            for s, v in enumerate(x.reshape(len(x), -1).astype("float64"))
        ]
    ).reshape(len(x), -1, *x.shape[1:])
    if attacks and epsilon > 0:
        classes = range(result.logits.shape[1])
        attacked = [_attacked(model, x, epsilon, target) for target in classes]
        found = np.concatenate([found, np.stack(attacked, axis=1)], axis=1)
    return np.asarray(found.astype("float32"))


def _attacked(model: Any, x: Array, epsilon: float, target: int) -> Array:
    targets = np.full(len(x), target)
    return pgd_l2(model, x, None, epsilon, steps=25, input_range=None, verbose=0, targets=targets)
