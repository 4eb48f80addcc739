"""Norms that neither overflow, underflow nor give NaN gradients at zero."""

from keras import ops

from keraslip.arithmetic import training
from keraslip.linear import magnitudes
from keraslip.typing import Tensor


def _flatten(x: Tensor) -> Tensor:
    return x if len(x.shape) == 2 else ops.reshape(x, (ops.shape(x)[0], -1))


def l2_norm(x: Tensor) -> Tensor:
    """Euclidean norm of every sample, exact to scale.

    The largest entry is divided out first, so that weights near the edge of the float range neither
    overflow nor vanish when squared, and there is no epsilon in a denominator that could hide a small
    norm. The gradient at zero is zero. NaN and infinity come out as NaN: never as a finite norm.

    Args:
        x: Tensor of shape `(batch, ...)`.

    Returns:
        Tensor of shape `(batch,)`.

    Example:

    >>> l2_norm(keras.ops.array([[3e-30, 4e-30]]))
    array([5e-30], dtype=float32)
    """
    flat = _flatten(x)
    scale = ops.stop_gradient(ops.max(ops.abs(flat), axis=-1, keepdims=True))
    # XLA flushes denormals: 0 / 0 is avoided by treating them as what they become.
    positive = ops.logical_not(scale <= 0.0)
    safe_scale = ops.where(positive, scale, ops.ones_like(scale))
    squares = ops.sum(ops.square(flat / safe_scale), axis=-1, keepdims=True)
    norm = safe_scale * ops.sqrt(ops.where(positive, squares, ops.ones_like(squares)))
    return ops.squeeze(ops.where(positive, norm, ops.zeros_like(norm)), axis=-1)


def euclidean(x: Tensor) -> Tensor:
    """Norm of every sample `(batch, ...)` with entries of moderate size, in one pass; gradient 0 at 0."""
    flat = _flatten(x)
    return safe_sqrt(ops.einsum("bi,bi->b", flat, flat))


def normalize(x: Tensor) -> Tensor:
    """Every sample `(batch, ...)` divided by its L2 norm; a zero sample stays zero."""
    norm = l2_norm(x)
    safe_norm = ops.where(norm <= 0.0, ops.ones_like(norm), norm)
    return x / per_sample(safe_norm, len(x.shape))


def safe_sqrt(x: Tensor) -> Tensor:
    """Square root of non-negative numbers with gradient zero (not infinite) at zero."""
    return magnitudes.safe_sqrt(training, x)


def per_sample(x: Tensor, rank: int) -> Tensor:
    """`(batch,)`, or a scalar, reshaped to `(batch, 1, ...)` of a rank, for broadcasting."""
    return ops.reshape(x, (-1,) + (1,) * (rank - 1))
