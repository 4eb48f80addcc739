"""What a certificate assumes of the execution, and whether it is so."""

from typing import Any

import keras
import numpy as np

from keraslip import backend
from keraslip.rules import MismatchError
from keraslip.rules.walk import is_graph

#: Precisions of layers and inputs that a certificate about float32 covers.
_FULL = ("float32", "float64")

#: What to switch off where the switch is not known.
REMEDY = "switch off mixed precision, autocast, TF32 and fast mathematics, see docs/certificates.md"


class ReducedPrecisionError(MismatchError, ValueError):
    """An execution that errs more than float32 does, found by running it."""


def check_precision(model: Any) -> None:
    """Raises for a model or backend that computes with less than float32, or is hooked, with the remedy."""
    layers = list(model._flatten_layers())
    # Models inside models round what they read, as the model itself does.
    nested = (layer for layer in layers if layer is not model and is_graph(layer))
    for inputs in [*model.inputs, *(tensor for layer in nested for tensor in layer.inputs)]:
        if keras.backend.standardize_dtype(inputs.dtype) not in _FULL:
            raise ValueError(
                "Certificates are about all real inputs near x, but this model rounds its inputs to "
                f"{inputs.dtype}. Build it from keras.Input(..., dtype='float32') and copy the weights. "
                f"Received: input {inputs.name!r} of dtype {inputs.dtype}"
            )
    # Layers without weights round as well.
    for layer in layers:
        dtype = layer.compute_dtype
        if dtype not in _FULL:
            raise ValueError(
                "Certificates are about float32 execution: in fewer digits another label may win. Certify, "
                "export and serve keraslip.float32_copy(model), which has the same weights. "
                f"Received: layer {layer.name!r} computes in {dtype}"
            )
    check_hooks(model)
    check_backend()


def check_hooks(model: Any) -> None:
    """Raises for a model whose layers something changes from outside, with the remedy."""
    remedy = backend.hooked(model._flatten_layers())
    if remedy is not None:
        raise ValueError(
            f"Certificates are about what the layers compute, and nothing besides. {remedy} "
            f"Received: backend {keras.backend.backend()!r}"
        )


def check_backend() -> None:
    """Raises if this thread or process computes with less than float32 now, naming the switch."""
    remedy = backend.reduced_precision()
    if remedy is not None:
        raise ValueError(f"Certificates are about float32 execution. {remedy}")


def check_weights(model: Any) -> None:
    """Raises for a weight that is not finite, naming it."""
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            bad = int((~np.isfinite(value)).sum())
            raise ValueError(
                f"The weight {weight.path!r} holds {bad} numbers that are not finite; nothing can be "
                "certified. Restore an earlier checkpoint, or train with a smaller learning rate."
            )
