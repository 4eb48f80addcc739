"""The only file that knows Keras' graph: visits every operation of a model in order."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops, tree

from keraslip.bounds.ball import AffineForm, Ball
from keraslip.rules.code import calls_alone
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.propagation import Propagation
from keraslip.rules.registry import registered_rule, rule_for
from keraslip.rules.rule import UnsupportedLayerError
from keraslip.typing import Tensor


@functools.cache
def _functional_call() -> Any:
    """How Keras calls a functional model."""
    # Not when keraslip is imported: the first layer fixes Keras' dtype policy.
    start = keras.Input((1,), name="start")
    return type(keras.Model(start, start, name="graph")).call


@dataclass(frozen=True)
class Visit:
    """One operation of a model, nested models opened."""

    path: str  #: Unique name inside the model.
    operation: Any  #: The layer or bare operation.
    problem: str | None  #: Why no bound can pass it, or `None`.


def propagate(
    model: Any, x: Tensor, context: Propagation, step: "Step | None" = None
) -> AffineForm:
    """Carries the input ball through a functional model with one input and one output.

    Returns the `AffineForm` of the output; its center is the model's output at `x`. A step takes the place
    of `carried`.
    """
    one = ops.ones((1,), dtype=x.dtype)
    paper = context.bound == "paper"
    ball = Ball(x, one, global_gain=one if paper else None)
    result: AffineForm = walk(model, AffineForm.closed(ball), context, step)
    return result


def visits(model: Any, prefix: str = "") -> Iterator[Visit]:
    """Every operation of a model, and whether it has a rule; raises nothing."""
    for path, node in nodes(model, prefix):
        operation = node.operation
        try:
            check_call(path, node)
            if is_graph(operation):
                _check_nested(path, node)
                yield from visits(operation, f"{path}/")
                continue
            rule_for(operation, path)
        except UnsupportedLayerError as error:
            yield Visit(path, operation, str(error))
        else:
            yield Visit(path, operation, None)


def check_call(path: str, node: Any) -> None:
    """Raises for a call that says that it is training, or which steps to leave out."""
    rule, said = registered_rule(type(node.operation)), node.arguments.kwargs
    where = f"The call of {type(node.operation).__name__} at {path!r}"
    # Keras writes it into calls of its own; a layer without a rule is refused for that.
    says = is_graph(node.operation) if rule is None else not rule.says_training
    if said.get("training") and says:
        raise UnsupportedLayerError(
            f"{where} says training=True, which may hold at inference as well: a certificate is about a "
            "network that does the same at every call. Build the model without it. "
            f"Received: training={said['training']!r}"
        )
    if said.get("mask") is not None and (rule is not None or is_graph(node.operation)):
        raise UnsupportedLayerError(
            f"{where} has a mask, by which layers leave out steps: no bound follows that. Build the model "
            f"without it. Received: mask={said['mask']!r}"
        )


def _check_nested(path: str, node: Any) -> None:
    """Raises for a call of a model that computes something else than its layers, one after the other."""
    model, arguments = node.operation, node.arguments
    ends = len(model.inputs), len(model.outputs)
    if ends != (1, 1):
        raise UnsupportedLayerError(
            f"The model at {path!r} needs one input and one output for a bound to pass it; put its layers "
            f"into the outer model instead. Received: {ends[0]} inputs, {ends[1]} outputs"
        )
    named = {key: value for key, value in arguments.kwargs.items() if key != "training"}
    said = [part for part in tree.flatten((arguments.args, named)) if part is not None]
    if len(said) != 1:
        raise UnsupportedLayerError(
            f"The call of the model at {path!r} says more than its input, which no bound follows. Call it "
            f"with that alone. Received: {len(said)} arguments, by name {sorted(named)}"
        )
    # Keras makes that of what comes in, outside of all layers.
    dtype, given = (str(tensor.dtype) for tensor in (model.inputs[0], node.input_tensors[0]))
    if "float" not in dtype and dtype != given:
        raise UnsupportedLayerError(
            f"The model at {path!r} rounds its inputs to whole numbers, which jumps, so that no Lipschitz "
            "constant bounds it; build it from keras.Input(..., dtype='float32'). "
            f"Received: an input of dtype {dtype} for one of {given}"
        )


def is_graph(operation: Any) -> bool:
    """Whether an operation is a model that computes what its graph says."""
    # A subclass with a call of its own computes something else than its graph: it needs a rule. So does a
    # model that was given one.
    if "call" in vars(operation) or not calls_alone(operation):
        return False
    if isinstance(operation, keras.Sequential):
        return type(operation).call is keras.Sequential.call
    return hasattr(operation, "_nodes_by_depth") and type(operation).call is _functional_call()


def graph_of(model: Any) -> Any:
    """The functional model that holds a model's nodes."""
    # A Sequential keeps its graph in an inner functional model.
    return model._functional if isinstance(model, keras.Sequential) else model


def nodes(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every node of a model's graph in order, with its path; nested models stay closed."""
    depths = graph_of(model)._nodes_by_depth
    found = [node for depth in sorted(depths, reverse=True) for node in depths[depth]]
    taken = {node.operation.name for node in found}
    seen: set[str] = set()
    for node in found:
        path, number = node.operation.name, 1
        # A layer that is called twice has two norms, for the masks differ; another may be called "x:2".
        while path in seen or (number > 1 and path in taken):
            number += 1
            path = f"{node.operation.name}:{number}"
        seen.add(path)
        yield f"{prefix}{path}", node


def walk(model: Any, form: Form, context: Interpreter, step: "Step | None" = None) -> Form:
    """Carries a form through a functional model with one input and one output by the rules of its layers.

    A step takes the place of `carried`.
    """
    each = step or carried
    return fold(model, form, lambda call: each(call, context))


def carried(call: "Call", context: Interpreter) -> Form:
    """The output's form of one call, with forms for tensors, by the rule of its operation."""
    context.key = call.path
    rule = rule_for(call.operation, call.path)
    try:
        result = rule.propagate(call.operation, context, *call.args, **call.kwargs)
    except UnsupportedLayerError as error:
        if repr(call.path) in str(error):
            raise
        where = f"{type(call.operation).__name__} at {call.path!r}"
        raise type(error)(f"No bound can pass {where}: {error}") from None
    _check_shape(call, result.shape)
    return result


def _check_shape(call: "Call", shape: tuple[int, ...]) -> None:
    built = tuple(call.output.shape[1:])
    if len(shape) != len(built) or any(
        b not in (s, None) for s, b in zip(shape, built, strict=True)
    ):
        raise UnsupportedLayerError(
            f"The layer {call.path!r} was changed after the model was built, or its rule is wrong: it gives "
            "another shape now. Build the model again with the layer as it should be, and compile it; or "
            f"correct the rule. Received: {shape} for {built}"
        )


def run(call: "Call") -> Tensor:
    """What an operation computes inside a model at inference."""
    kwargs = call.kwargs
    if "training" in getattr(call.operation, "_call_context_args", ()):
        kwargs = {**kwargs, "training": False}
    return tree.flatten(call.operation(*call.args, **kwargs))[0]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an operation in a graph."""

    path: str  #: Unique name inside the model.
    operation: Any  #: The layer or bare operation.
    args: Any  #: Its positional arguments, with a value for every tensor.
    kwargs: Any  #: Its keyword arguments.
    output: Any  #: The symbolic tensor that it gave when the graph was built.


#: Carries the form of one call's output.
Step = Callable[[Call, Any], Form]


def fold(
    model: Any,
    value: Any,
    step: Callable[[Call], Any],
    prefix: str = "",
    check: Callable[[str, Any], None] = check_call,
) -> Any:
    """Visits every operation in order, nested models opened, with what their inputs became.

    Args:
        model: A functional or sequential Keras model with one input and one output.
        value: What stands for the input.
        step: From a call, with such a value for every tensor, to the output's value.
        prefix: Path of the model inside another.
        check: Raises for a path and node that cannot be visited.

    Returns:
        What the output became.
    """
    graph = graph_of(model)
    values: dict[int, Any] = {id(tree.flatten(graph.inputs)[0]): value}
    for path, node in nodes(model, prefix):
        if node.is_input:
            continue
        check(path, node)
        output, *others = tree.flatten(node.outputs)
        values.update({id(other): _Another(node.operation) for other in others})
        if is_graph(node.operation):
            _check_nested(path, node)
            # Whatever structure it came in, a dictionary of one perhaps.
            result = fold(
                node.operation, _known(values, node.input_tensors[0]), step, f"{path}/", check
            )
        else:
            args, kwargs = tree.map_structure(
                lambda t: _known(values, t) if isinstance(t, keras.KerasTensor) else t,
                (node.arguments.args, node.arguments.kwargs),
            )
            result = step(Call(path, node.operation, args, kwargs, output))
        values[id(output)] = result
    return _known(values, tree.flatten(graph.outputs)[0])


@dataclass(frozen=True)
class _Another:
    """Stands for a result that is not the first one of its operation."""

    operation: Any


def _known(values: dict[int, Any], tensor: Any) -> Any:
    value = values[id(tensor)]
    if isinstance(value, _Another):
        where = f"{type(value.operation).__name__} at {value.operation.name!r}"
        raise UnsupportedLayerError(
            f"No bound can pass {where}: of several results the first alone is known; take slices in place "
            "of a split, x[:, :3] and x[:, 3:]"
        )
    return value
