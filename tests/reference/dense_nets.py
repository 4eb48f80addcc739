"""Networks as lists of dense matrices, in float64 NumPy, for the reference bounds.

A network is `weights` (W_i of shape `(out, in)`), `biases` and `activations`, one kind for every
layer but the last:

* `("relu",)` and `("clipped_relu", theta)`: `min(max(z, 0), theta)`, theta a number or a vector;
* `("maxmin",)` and `("clipped_maxmin", M, m)`: `(min(max(p, q), M), max(min(p, q), m))` of the two
  halves p, q of the vector; with two index arrays at the end, of `z[first]` and `z[second]`,
  written to the same places (`channel_halves` makes them for a feature map);
* `("linear",)`: nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Kind = tuple[Any, ...]


def spectral_norm(matrix: Array) -> float:
    """Largest singular value, 0 for a matrix without entries."""
    return float(np.linalg.svd(matrix, compute_uv=False)[0]) if matrix.size else 0.0


def channel_halves(shape: tuple[int, ...], axis: int = -1) -> tuple[Array, Array]:
    """Indices into the flat vector of the two channel halves of a feature map."""
    first, second = np.split(np.arange(int(np.prod(shape))).reshape(shape), 2, axis=axis)
    return first.ravel(), second.ravel()


def _pairs(kind: Kind, size: int) -> tuple[Array, Array, Any, Any]:
    """Indices of the halves and the two thresholds of a MaxMin."""
    clips = kind[1:3] if kind[0] == "clipped_maxmin" else (np.inf, -np.inf)
    halves = kind[3:] if kind[0] == "clipped_maxmin" else kind[1:]
    first, second = halves or np.split(np.arange(size), 2)
    return first, second, *clips


def activate(kind: Kind, z: Array) -> Array:
    """Apply an activation along the last axis; monotone, so it maps boxes to boxes."""
    if kind[0] == "linear":
        return z
    if kind[0] in ("relu", "clipped_relu"):
        theta = kind[1] if kind[0] == "clipped_relu" else np.inf
        return np.minimum(np.maximum(z, 0.0), theta)
    first, second, largest, smallest = _pairs(kind, z.shape[-1])
    out = np.empty_like(z)
    out[..., first] = np.minimum(np.maximum(z[..., first], z[..., second]), largest)
    out[..., second] = np.maximum(np.minimum(z[..., first], z[..., second]), smallest)
    return out


def varying(kind: Kind, lower: Array, upper: Array) -> Array:
    """Which outputs may change when the input lies in a box, of the size of the output."""
    if kind[0] in ("linear", "relu", "clipped_relu"):
        return activate(kind, lower) != activate(kind, upper)
    first, second, largest, smallest = _pairs(kind, lower.size)
    result = np.ones(lower.size, bool)
    result[first] = ~(np.maximum(lower[first], lower[second]) >= largest)
    result[second] = ~(np.minimum(upper[first], upper[second]) <= smallest)
    return result


def counted_rows(kind: Kind, lower: Array, upper: Array, mask: Array, drop: bool) -> Array:
    """Rows of W that the norm of the layer has to count; `drop` is about MaxMin."""
    if kind[0] in ("linear", "relu", "clipped_relu"):
        return mask
    rows = np.ones(lower.size, bool)
    if not drop:
        return rows
    first, second, _, _ = _pairs(kind, lower.size)
    for p, q in zip(first, second, strict=True):
        if lower[p] >= upper[q]:  # p is the maximum, written to place p
            rows[p], rows[q] = mask[p], mask[q]
        elif lower[q] >= upper[p]:
            rows[p], rows[q] = mask[q], mask[p]
        else:
            rows[p] = rows[q] = mask[p] or mask[q]
    return rows


def forward(
    weights: Sequence[Array], biases: Sequence[Array], activations: Sequence[Kind], x: Array
) -> list[Array]:
    """Pre-activations, activations, ..., logits of a batch `(batch, in)`, in this order."""
    trace, value = [], np.asarray(x, "float64").reshape(len(x), -1)
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        value = value @ np.asarray(weight, "float64").T + np.asarray(bias, "float64")
        trace.append(value)
        if i < len(activations):
            value = activate(activations[i], value)
            trace.append(value)
    return trace
