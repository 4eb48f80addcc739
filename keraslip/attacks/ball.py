"""Geometry of the L2 ball intersected with the input range, one row a sample, in NumPy."""

import numpy as np

# Keeps the norm below epsilon also for who computes it in float32.
_SLACK = 1.0 - 1e-6


def norms(rows: np.ndarray) -> np.ndarray:
    """L2 norm of each sample of `(batch, ...)` in float64, of shape `(batch,)`."""
    return np.linalg.norm(rows.reshape(len(rows), -1).astype("float64"), axis=1)


def per_sample(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Reshape `(batch,)` so that it broadcasts against `like` of shape `(batch, ...)`."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def project(
    points: np.ndarray, x: np.ndarray, epsilon: np.ndarray, low: float, high: float
) -> np.ndarray:
    """Map points into the ball around `x` and into `[low, high]`, exactly, as float32.

    Clip first, then shrink towards `x`: as `x` is inside the range and the range is convex, the second step
    does not undo the first. Rounding goes towards `x` for the same reason, so that `||result - x||_2 <=
    epsilon` in float64.
    """
    center = x.astype("float64")
    change = np.clip(points, low, high) - center
    radius = epsilon * _SLACK
    longest = np.maximum(norms(change), radius)
    shrink = np.divide(radius, longest, out=np.zeros_like(longest), where=longest > 0)
    change *= per_sample(shrink, change)
    result = (center + change).astype("float32")
    too_far = np.abs(result.astype("float64") - center) > np.abs(change)
    return np.where(too_far, np.nextafter(result, x), result)


def normal(shape: tuple[int, ...], keys: np.ndarray, *seeds: int) -> np.ndarray:
    """Standard normal rows, each a function of its own key: batching does not change them."""
    rows = [np.random.default_rng([*seeds, int(key)]).standard_normal(shape) for key in keys]
    return np.stack(rows)


def uniform(shape: tuple[int, ...], keys: np.ndarray, *seeds: int) -> np.ndarray:
    """Points uniform in the unit ball, each a function of its own key."""
    # The first d of d + 2 coordinates of a uniform point on the sphere are uniform in the ball.
    size = int(np.prod(shape))
    rows = normal((size + 2,), keys, *seeds)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[:, :size].reshape(-1, *shape)


def directions(gradients: np.ndarray, keys: np.ndarray, *seeds: int) -> np.ndarray:
    """Unit vectors along the gradients; a random one where a gradient is zero or not finite."""
    result = gradients.astype("float64")
    lengths = norms(result)
    lost = ~(np.isfinite(lengths) & (lengths > 0))
    if lost.any():
        result[lost] = normal(gradients.shape[1:], keys[lost], *seeds)
        lengths = norms(result)
    return result / per_sample(lengths, result)
