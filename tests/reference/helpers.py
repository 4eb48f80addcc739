"""Points to test bounds with, and dense matrices of layers."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


def points_in_ball(x: Array, epsilon: float, count: int, seed: int = 0) -> Array:
    """Points in the ball around one flat input: the sphere, the inside, axes and diagonals."""
    rng = np.random.default_rng(seed)
    d = rng.normal(size=(count, x.size))
    sparse = d * (rng.uniform(size=d.shape) < 0.2)
    d = np.concatenate([d, sparse, np.sign(d), np.eye(x.size), -np.eye(x.size)])
    d /= np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-300)
    inner = d[:count] * rng.uniform(size=(count, 1))
    return x + epsilon * (1 - 1e-12) * np.concatenate([d, inner])


def materialise(
    function: Callable[[Array], Any], in_shape: tuple[int, ...], chunk: int = 512
) -> tuple[Array, Array]:
    """Dense matrix and bias of an affine map, by applying it to basis vectors.

    Args:
        function: A Keras layer, a stack of them, or any function of a `(batch, *in_shape)` array.
            The bias of a single layer is set to zero meanwhile, so that its matrix is exact.
        in_shape: Shape of one input.
        chunk: Basis vectors at once.

    Returns:
        `(W, b)` in float64, `W` of shape `(out, in)` on flat vectors.
    """
    size = int(np.prod(in_shape))

    def apply(rows: Array) -> Array:
        value: Any = function(rows.reshape(-1, *in_shape).astype("float32"))
        value = value.detach().cpu() if hasattr(value, "detach") else value
        return np.asarray(value, "float64").reshape(len(rows), -1)

    offset = apply(np.zeros((1, size)))[0]
    bias = getattr(function, "bias", None)
    kept = None if bias is None else np.array(bias.numpy())
    try:
        if bias is not None:
            bias.assign(np.zeros_like(kept))
        rest = apply(np.zeros((1, size)))[0]
        basis = np.eye(size)
        columns = [apply(basis[i : i + chunk]) - rest for i in range(0, size, chunk)]
    finally:
        if bias is not None:
            bias.assign(kept)
    return np.concatenate(columns).T, offset
