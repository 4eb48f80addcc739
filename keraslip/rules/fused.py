"""Activations that are an argument of another layer."""

from typing import Any

import keras
from keras import tree

from keraslip.rules.walk import is_graph, nodes


def build_fused(model: Any) -> None:
    """Builds activations of a functional model that are layers themselves, with weights perhaps.

    Keras leaves that to their first call, so that a model that has never run would have no such weights.
    """
    for _, node in nodes(model, ""):
        if is_graph(node.operation):
            build_fused(node.operation)
            continue
        activation = getattr(node.operation, "activation", None)
        if isinstance(activation, keras.layers.Layer) and not activation.built:
            activation.build(tree.flatten(node.outputs)[0].shape)


def spoken(activation: Any) -> str:
    """What an activation is called: a layer by its class, a function by its name."""
    if isinstance(activation, keras.layers.Layer):
        return type(activation).__name__
    return str(getattr(activation, "__name__", activation))
