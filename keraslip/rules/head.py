"""The end of a classifier that makes probabilities of its logits."""

from typing import Any

import keras
import numpy as np

from keraslip.rules.code import is_fixed
from keraslip.rules.walk import is_graph, nodes

_NAMES = {
    keras.activations.softmax: "softmax",
    keras.activations.log_softmax: "log_softmax",
    keras.activations.sigmoid: "sigmoid",
}
_KINDS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}


def probabilities(operation: Any) -> str | None:
    """`"softmax"`, `"log_softmax"` or `"sigmoid"` where an operation makes these, else `None`."""
    # A layer of a user's own may have such a name.
    kind = _KINDS.get(type(operation).__name__) if is_fixed(type(operation)) else None
    if kind in ("softmax", "log_softmax") and not _is_along_classes(operation):
        return None
    return kind or _NAMES.get(getattr(operation, "activation", None))


def _is_along_classes(operation: Any) -> bool:
    """Whether a softmax sums over the last axis of `(batch, classes)`, not over the batch."""
    return np.atleast_1d(operation.axis).tolist() in ([-1], [1])


def head(model: Any) -> str | None:
    """What a model ends in, see `probabilities`; `None` where it has several ends, or no graph."""
    node = end(model)
    return None if node is None else probabilities(node.operation)


def end(model: Any) -> Any:
    """The node of a model's graph that makes its one output; `None` where there is none."""
    if not is_graph(model) or len(model.outputs) != 1:
        return None
    *_, (_, last) = nodes(model, "")
    return last


def is_softmax(operation: Any) -> bool:
    """Whether an operation makes probabilities of several logits, or their logarithms."""
    return probabilities(operation) in ("softmax", "log_softmax")


def is_alone(operation: Any) -> bool:
    """Whether an operation is but its activation, and has no weights."""
    return not getattr(operation, "weights", [])
