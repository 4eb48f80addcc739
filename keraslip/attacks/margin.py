"""What attacks lower: the margin of the logits, compiled once a model.

Of a model with a softmax at its end they are what that reads: a saturated softmax has no gradient left.
"""

import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.backend import input_gradient
from keraslip.backend.calls import fresh_predictions
from keraslip.rules.head import end, is_alone, is_softmax
from keraslip.rules.kept import kept


def margin(logits: Any, labels: Any, rival: Any, sign: Any) -> Any:
    """Signed margin of the label over the largest other logit, with the rival's gradient.

    A rival of -1 is the largest other logit itself.
    """
    logits, classes = ops.cast(logits, "float32"), logits.shape[-1]
    chosen = ops.one_hot(labels, classes, dtype="float32")
    own = ops.sum(logits * chosen, axis=-1)
    largest = ops.max(ops.where(chosen > 0, -float("inf"), logits), axis=-1)
    named = ops.one_hot(ops.maximum(rival, 0), classes, dtype="float32")
    other = ops.where(rival < 0, largest, ops.sum(logits * named, axis=-1))
    return sign * (own - other + ops.stop_gradient(other - largest))


def rivals(
    model: keras.Model, x: np.ndarray, labels: np.ndarray, size: int, runs: int
) -> np.ndarray:
    """Class each run pushes towards, `(batch, runs)`; -1 stands for the largest other logit."""
    if runs < 2:
        return np.full((len(x), 1), -1, "int32")
    logits = fresh_predictions(model, x, size).astype("float64")
    logits[np.arange(len(x)), labels] = -np.inf
    order = np.argsort(-logits, axis=1)[:, :-1]
    result = order[:, np.arange(runs) % order.shape[1]].astype("int32")
    result[:, 0] = -1
    return result


def margin_gradient(model: keras.Model) -> Callable[..., Any]:
    """Compiled margin of the model, kept as long as the model lives and is not changed."""
    # A proxy, so that a model which is not used any more is freed at once.
    return kept(model, "margin", lambda: input_gradient(weakref.proxy(model), margin))


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
