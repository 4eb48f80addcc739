"""Clips of activations where the data say that little lies beyond."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keraslip.checks import check_inputs
from keraslip.layers import ClippedReLU
from keraslip.typing import Array

#: Samples that are looked at, at most.
_MOST = 2000


def set_thresholds(model: Any, x: Array, quantile: float) -> None:
    """Sets the threshold of every `ClippedReLU` to a quantile of what reaches it, one for each channel.

    Layer by layer, so that every layer sees what the clips before it let through.

    Args:
        model: A functional model.
        x: Samples, `(count, *shape)`.
        quantile: Share of the values that stay below the threshold, in (0, 1].
    """
    for layer in clipped(model):
        reads = keras.Model(model.inputs, layer.input)
        values = np.asarray(reads.predict(x, verbose=0), dtype="float64")
        limits = np.quantile(np.maximum(values, 0.0), quantile, axis=tuple(range(values.ndim - 1)))
        # A unit that never answers keeps a threshold above 0, so that training can use it.
        limits = np.maximum(limits, max(float(limits.max()), 1e-3) * 1e-2)
        layer.theta.assign(np.broadcast_to(limits, layer.theta.shape).astype("float32"))


def clipped(model: Any) -> Iterator[Any]:
    """The clipped layers of a functional model in order."""
    for layer in model.layers:
        if isinstance(layer, ClippedReLU):
            yield layer


def some(x: Any, graph: Any) -> Array:
    """The first samples of an array, as float32, for the model that is calibrated.

    Args:
        x: Array or tensor `(count, *shape)`.
        graph: The model.

    Raises:
        ValueError: for other shapes, no samples, or numbers that are not finite.
    """
    try:
        part = x[:_MOST] if hasattr(x, "shape") else x
        return check_inputs(part, tuple(graph.inputs[0].shape[1:]))[:_MOST]
    except ValueError as error:
        raise ValueError(f"calibrate takes samples as certify does: {error}") from None
