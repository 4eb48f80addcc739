"""Models with one input and one output, whatever structure they take and give them in."""

from typing import Any

import keras

Tensor = Any


def logits_of(model: Any, x: Tensor) -> Tensor:
    """Logits of a model in inference mode, `(batch, classes)`.

    Args:
        model: A Keras model with one input and one output.
        x: Inputs `(batch, *shape)`.
    """
    return unpacked(model(packed(model, x), training=False))


def packed(model: Any, x: Tensor) -> Any:
    """One tensor as a model takes it: in a dictionary or list, for a model that was built from one."""
    structure = getattr(model, "input", None)
    if not isinstance(structure, dict | list | tuple) or len(structure) != 1:
        return x
    return dict.fromkeys(structure, x) if isinstance(structure, dict) else [x]


def unpacked(outputs: Any) -> Tensor:
    """The one tensor of a model's outputs; outputs of several stay as they are."""
    flat = keras.tree.flatten(outputs)
    return flat[0] if len(flat) == 1 else outputs
