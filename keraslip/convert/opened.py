"""Layers and models of a user's own with a `call` that Keras can trace, as the graphs of what they call."""

import inspect
from typing import Any

import keras
from keras import tree

from keraslip.rules.code import calls_alone
from keraslip.rules.registry import registered_rule
from keraslip.rules.walk import graph_of, is_graph, nodes

#: Layers of these packages are what they are: they have a rule, or a reason against one.
_KNOWN = ("keras", "keraslip")


def opened(model: Any) -> Any:
    """A functional model with such layers as nested models; itself where it has none.

    Their own layers are shared with the model that was given.

    Args:
        model: A functional or sequential model with one input.
    """
    calls = [node for _, node in nodes(model, "") if not node.is_input]
    plain = {id(node.operation): True for node in calls}
    for node in calls:
        plain[id(node.operation)] &= _is_plain(node)
    others = {
        id(node.operation): _other(node) if plain[id(node.operation)] else node.operation
        for node in calls
    }
    if all(others[id(node.operation)] is node.operation for node in calls):
        return model
    (given,) = tree.flatten(graph_of(model).inputs)
    start = keras.Input(given.shape[1:], dtype=given.dtype, name=given.name)
    made = {id(given): start}
    for node in calls:
        args, kwargs = tree.map_structure(
            lambda leaf: made.get(id(leaf), leaf), (node.arguments.args, node.arguments.kwargs)
        )
        # With all that it says: a nested model may be called with training=True.
        outputs = others[id(node.operation)](*args, **kwargs)
        pairs = zip(tree.flatten(node.outputs), tree.flatten(outputs), strict=True)
        made.update({id(old): new for old, new in pairs})
    (end,) = tree.flatten(graph_of(model).outputs)
    return keras.Model(start, made[id(end)], name=model.name)


def _is_plain(node: Any) -> bool:
    """Whether a call says nothing but its tensor: another argument may change what is computed."""
    if is_graph(node.operation):
        return True
    args, kwargs = node.arguments.args, node.arguments.kwargs
    said = [*args[1:], *(value for key, value in kwargs.items() if key != "training" or value)]
    return all(value is None or isinstance(value, keras.KerasTensor) for value in said)


def _other(node: Any) -> Any:
    """What takes the place of a call's operation: itself for what cannot be opened."""
    operation = node.operation
    if is_graph(operation):
        ends = len(operation.inputs), len(operation.outputs)
        return opened(operation) if ends == (1, 1) else operation
    if not isinstance(operation, keras.layers.Layer):
        return operation
    # A subclass of Dense with Dense's call is no graph of layers.
    code = {type(operation).__module__, type(operation).call.__module__}
    if any(module.split(".")[0] in _KNOWN for module in code):
        return operation
    if registered_rule(type(operation)) is not None or len(node.input_tensors) != 1:
        return operation
    (given,) = node.input_tensors
    return traced(operation, given.shape[1:], given.dtype) or operation


def traced(layer: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """The functional model of a layer's `call` of one tensor; `None` where Keras cannot trace it."""
    start = keras.Input(shape, dtype=dtype)
    try:
        model = keras.Model(start, called(layer, start), name=layer.name)
    except Exception:  # whatever code of a user's own raises; the layer is refused by name then
        return None
    return opened(model) if len(model.outputs) == 1 else None


def called(layer: Any, start: Any) -> Any:
    """What the `call` of a layer or model makes of a tensor at inference, whatever its default is."""
    if not calls_alone(layer):
        raise NotImplementedError("it has a __call__ of its own; write that into its call")
    told = "training" in inspect.signature(layer.call).parameters
    return layer.call(start, training=False) if told else layer.call(start)
