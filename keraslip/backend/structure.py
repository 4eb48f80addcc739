"""Models with one input and one output, whatever structure they, and data for them, come in."""

from typing import Any

import keras

from keraslip.typing import Tensor


def logits_of(model: Any, x: Tensor) -> Tensor:
    """Logits of a model in inference mode, `(batch, classes)`."""
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


def only_input(model: Any, x: Any) -> Tensor:
    """The one tensor of a batch's inputs, found as Keras finds it: alone, in a list, or by its name."""
    if isinstance(x, dict):
        structured = isinstance(model.input, dict)
        name = next(iter(model.input)) if structured else model.inputs[0].name
        # Keras gives a model of a dictionary all entries in the order of their keys.
        if name not in x or (structured and len(x) > 1):
            raise ValueError(
                f"Inputs must be one array, or a dictionary with the key {name!r}, as the model's input is "
                f"called. Received: keys {sorted(map(str, x))}"
            )
        return x[name]
    return _only(x, len(model.inputs[0].shape))


def only_target(model: Any, y: Any) -> Tensor:
    """The one tensor of a batch's targets, or of what else there is one of for each output."""
    if isinstance(y, dict):
        names = [*(model.output if isinstance(model.output, dict) else ()), *model.output_names]
        if len(y) != 1 or next(iter(y)) not in names:
            raise ValueError(
                f"Labels must be one array, or a dictionary with the key {names[0]!r} alone, as the model's "
                f"output is called. Received: keys {sorted(map(str, y))}"
            )
        return next(iter(y.values()))
    return _only(y, 1)


def _only(value: Any, rank: int) -> Any:
    """The entry of a list of one tensor; anything else as it is."""
    if isinstance(value, list | tuple) and len(value) == 1:
        return value[0] if len(getattr(value[0], "shape", ())) >= rank else value
    return value
