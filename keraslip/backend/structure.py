"""Models with one input and one output, whatever structure they take and give them in."""

from typing import Any

import keras

Tensor = Any


def packed(model: Any, x: Tensor) -> Any:
    """One tensor as a model takes it: in a dictionary, for a model that was built from one."""
    structure = getattr(model, "input", None)
    if isinstance(structure, dict) and len(structure) == 1:
        return dict.fromkeys(structure, x)
    return x


def unpacked(outputs: Any) -> Tensor:
    """The one tensor of a model's outputs; outputs of several stay as they are."""
    flat = keras.tree.flatten(outputs)
    return flat[0] if len(flat) == 1 else outputs
