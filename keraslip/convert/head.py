"""Two logits in place of the one that a sigmoid reads."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.rules.rule import UnsupportedLayerError


def two_classes(layer: Any) -> list[np.ndarray]:
    """Kernel and bias of two logits `(-z / 2, z / 2)` in place of one, z, whose sigmoid was the answer.

    Args:
        layer: A built dense layer with one unit.

    Raises:
        UnsupportedLayerError: for another layer.
    """
    if not isinstance(layer, keras.layers.Dense) or layer.units != 1:
        raise UnsupportedLayerError(
            "A sigmoid at the end becomes two logits where one Dense unit feeds it: several sigmoids are "
            "several answers, and a certificate is about one label. "
            f"Received: {type(layer).__name__} {layer.name!r}"
        )
    kernel = np.asarray(ops.convert_to_numpy(layer.kernel), dtype="float64") / 2.0
    bias = np.zeros(1) if not layer.use_bias else ops.convert_to_numpy(layer.bias) / 2.0
    pairs = np.concatenate([-kernel, kernel], axis=1), np.concatenate([-bias, bias])
    return [part.astype("float32") for part in pairs]
