"""The only file that knows Keras' graph: visits every operation of a model in order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops, tree

from keraslip.bounds.ball import AffineForm, Ball
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.propagation import Propagation
from keraslip.rules.registry import rule_for
from keraslip.rules.rule import UnsupportedLayerError

Tensor = Any

_INPUT = keras.Input((1,))
_FUNCTIONAL_CALL = type(keras.Model(_INPUT, _INPUT)).call


@dataclass(frozen=True)
class Visit:
    """One operation of a model, nested models opened.

    Args:
        path: Unique name inside the model.
        operation: The layer or bare operation.
        problem: Why no bound can pass it, or `None`.
    """

    path: str
    operation: Any
    problem: str | None


def propagate(model: Any, x: Tensor, context: Propagation) -> AffineForm:
    """Carries the input ball through a functional model.

    Args:
        model: A functional or sequential Keras model with one input and one output.
        x: Inputs `(batch, *shape)`.
        context: The settings of the pass.

    Returns:
        The `AffineForm` of the model's output; its center is the model's output at `x`.

    Raises:
        UnsupportedLayerError: at a layer without a rule.
    """
    one = ops.ones((1,), dtype=x.dtype)
    paper = context.bound == "paper"
    ball = Ball(x, one, global_gain=one if paper else None)
    result: AffineForm = walk(model, AffineForm.closed(ball), context)
    return result


def visits(model: Any, prefix: str = "") -> Iterator[Visit]:
    """Every operation of a model, and whether it has a rule; raises nothing.

    Args:
        model: A functional or sequential Keras model.
        prefix: Path of the model inside another.
    """
    for path, node in _nodes(model, prefix):
        operation = node.operation
        if _is_graph(operation):
            yield from visits(operation, f"{path}/")
            continue
        try:
            rule_for(operation, path)
        except UnsupportedLayerError as error:
            yield Visit(path, operation, str(error))
        else:
            yield Visit(path, operation, None)


def _is_graph(operation: Any) -> bool:
    # A subclass with a call of its own computes something else than its graph: it needs a rule.
    if isinstance(operation, keras.Sequential):
        return type(operation).call is keras.Sequential.call
    return hasattr(operation, "_nodes_by_depth") and type(operation).call is _FUNCTIONAL_CALL


def _graph(model: Any) -> Any:
    # A Sequential keeps its graph in an inner functional model.
    return model._functional if isinstance(model, keras.Sequential) else model


def _nodes(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    depths = _graph(model)._nodes_by_depth
    nodes = [node for depth in sorted(depths, reverse=True) for node in depths[depth]]
    taken = {node.operation.name for node in nodes}
    seen: set[str] = set()
    for node in nodes:
        path, number = node.operation.name, 1
        # A layer that is called twice has two norms, for the masks differ; another may be called "x:2".
        while path in seen or (number > 1 and path in taken):
            number += 1
            path = f"{node.operation.name}:{number}"
        seen.add(path)
        yield f"{prefix}{path}", node


def walk(model: Any, form: Form, context: Interpreter, prefix: str = "") -> Form:
    """Carries a form through a functional model by the rules of its layers.

    Args:
        model: A functional or sequential Keras model with one input and one output.
        form: The input's form.
        context: What the rules' steps mean.
        prefix: Path of the model inside another.

    Returns:
        The output's form.

    Raises:
        UnsupportedLayerError: at a layer without a rule.
    """
    graph = _graph(model)
    forms: dict[int, Form] = {id(tree.flatten(graph.inputs)[0]): form}
    for path, node in _nodes(model, prefix):
        if node.is_input:
            continue
        args, kwargs = tree.map_structure(
            lambda t: forms[id(t)] if isinstance(t, keras.KerasTensor) else t,
            (node.arguments.args, node.arguments.kwargs),
        )
        if _is_graph(node.operation):
            result = walk(node.operation, args[0], context, f"{path}/")
        else:
            context.key = path
            rule = rule_for(node.operation, path)
            result = rule.propagate(node.operation, context, *args, **kwargs)
        forms[id(tree.flatten(node.outputs)[0])] = result
    return forms[id(tree.flatten(graph.outputs)[0])]
