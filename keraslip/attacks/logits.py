"""What an attack of a model with a softmax at its end works on: a saturated softmax has no gradient left."""

from typing import Any

import keras

from keraslip.rules.head import end, is_alone, is_softmax
from keraslip.rules.kept import kept


def onto_logits(model: Any) -> Any:
    """The model onto what its softmax reads; the model itself where it does not end in one."""
    last = end(model)
    if last is None or not is_softmax(last.operation):
        return model
    cut = kept(model, "onto logits", lambda: _without(model, last))
    if not is_alone(last.operation):
        # A copy, whose weights the model's training does not change.
        cut.layers[-1].set_weights(last.operation.get_weights())
    return cut


def _without(model: Any, last: Any) -> Any:
    logits = last.input_tensors[0]
    if not is_alone(last.operation):
        config = {**last.operation.get_config(), "activation": "linear"}
        logits = type(last.operation).from_config(config)(logits)
    return keras.Model(model.inputs[0], logits, name=model.name)
