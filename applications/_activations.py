"""The activation layers of a network, chosen by name and given their initial thresholds."""

from collections.abc import Sequence

import keras
import numpy as np

from keraslip import layers
from keraslip.applications._spec import Net, Threshold

#: Which threshold arguments an activation uses; any other one would be silently without effect.
USES: dict[str, set[str]] = {
    "clipped_relu": {"threshold"},
    "maxmin": set(),
    "clipped_maxmin": {"upper_threshold", "lower_threshold"},
    "relu": set(),
}


def activation_layers(
    net: Net, activation: str, thresholds: dict[str, Threshold]
) -> list[keras.layers.Layer]:
    """One activation layer for each convolution and hidden dense layer of `net`."""
    _check(activation, thresholds)
    labels = [f"activation_{index}" for index in range(1, net.activations + 1)]
    count = len(labels)
    if activation == "clipped_relu":
        values = _spread("threshold", thresholds["threshold"], net.threshold, count)
        return [
            layers.ClippedReLU(threshold=value, name=label)
            for value, label in zip(values, labels, strict=True)
        ]
    if activation == "clipped_maxmin":
        upper = _spread("upper_threshold", thresholds["upper_threshold"], net.upper, count)
        lower = _spread("lower_threshold", thresholds["lower_threshold"], net.lower, count)
        return [
            layers.ClippedMaxMin(upper=high, lower=low, name=label)
            for high, low, label in zip(upper, lower, labels, strict=True)
        ]
    plain = layers.MaxMin if activation == "maxmin" else keras.layers.ReLU
    return [plain(name=label) for label in labels]


def _check(activation: str, thresholds: dict[str, Threshold]) -> None:
    if activation not in USES:
        raise ValueError(
            f"`activation` must be one of {', '.join(USES)}. Received: activation={activation!r}"
        )
    for name, value in thresholds.items():
        if value is not None and name not in USES[activation]:
            raise ValueError(
                f"`{name}` has no effect with activation={activation!r}. Received: {name}={value!r}"
            )


def _spread(
    name: str, value: Threshold, default: float | Sequence[float], count: int
) -> list[float]:
    """The list of `count` thresholds that a number, a sequence or None stands for."""
    chosen = np.asarray(default if value is None else value, dtype="float64")
    if chosen.shape not in ((), (count,)):
        raise ValueError(
            f"`{name}` must be a number or {count} numbers, one for each activation layer. "
            f"Received: {name}={value!r}"
        )
    return [float(entry) for entry in np.broadcast_to(chosen, (count,))]
