"""Whether a model can be bounded: decided here for `compile`, certificates and `check_model`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from keraslip.rules.head import is_softmax
from keraslip.rules.kept import kept
from keraslip.rules.map_check import check_maps
from keraslip.rules.norm_shapes import norm_shapes, single_input_shape
from keraslip.rules.rule import MismatchError, UnsupportedLayerError
from keraslip.rules.signature import signature
from keraslip.rules.walk import is_graph, visits

NO_LAYER = "The model has no layer between its input and its output: there is nothing to bound"


@dataclass(frozen=True, eq=False)
class Problem:
    """Why a model cannot be bounded."""

    path: str  #: Path of the layer in the model, or the model's name.
    operation: Any  #: The layer, or the model.
    error: NotImplementedError | ValueError  #: What `compile` raises.


def check_bounded(model: Any) -> None:
    """Raises for a model whose logits cannot be bounded.

    Raises:
        UnsupportedLayerError: for a layer without a rule, or a model with a `call` of its own.
        ValueError: if the last layer is not linear, or the outputs are not logits of two classes or more.
    """
    for problem in problems(model):
        raise problem.error


def check_graph(model: Any) -> None:
    """Raises unless a model computes what its graph of layers says.

    Raises:
        UnsupportedLayerError: for a subclass with a `call` of its own, or a model without a graph.
    """
    problem = graph_problem(model)
    if problem is not None:
        raise UnsupportedLayerError(problem)


def problems(model: Any) -> Iterator[Problem]:
    """Everything that keeps a model from being bounded; nothing if it can be."""
    graph = graph_problem(model)
    if graph is not None:
        yield Problem(model.name, model, UnsupportedLayerError(graph))
    if not getattr(model, "inputs", None):
        return
    found = [*_of_the_ends(model), *_of_layers(model)]
    yield from found
    if graph is None and not found:
        yield from _of_the_whole(model)


def _of_the_ends(model: Any) -> Iterator[Problem]:
    """What the shapes of inputs and outputs, or a softmax, say at a glance."""
    try:
        single_input_shape(model)
    except UnsupportedLayerError as error:
        yield Problem(model.name, model, error)
        return
    last = model.outputs[0]._keras_history.operation
    if isinstance(last, keras.layers.InputLayer):
        yield Problem(model.name, model, UnsupportedLayerError(NO_LAYER))
        return
    if is_softmax(last):
        yield Problem(last.name, last, ValueError(_not_linear(last)))
    shape = tuple(model.outputs[0].shape)
    if len(shape) != 2 or shape[1] is None or shape[1] < 2:
        wanted = (
            "The model must end in logits of shape (batch, classes) with two classes or more: a certificate "
            "is about one label, which regression has not. Of one sigmoid output keraslip.from_keras(model) "
            f"makes two logits; put a sigmoid behind one logit first. Received: output shape {shape}"
        )
        yield Problem(last.name, last, ValueError(wanted))


def _of_layers(model: Any) -> Iterator[Problem]:
    last = model.outputs[0]._keras_history.operation
    for visit in visits(model):
        if visit.problem is not None and not (visit.operation is last and is_softmax(last)):
            yield Problem(visit.path, visit.operation, UnsupportedLayerError(visit.problem))


def _of_the_whole(model: Any) -> Iterator[Problem]:
    """What shows only when a bound is carried through all layers."""
    try:
        ends_linear = _ends_linear(model)
    except UnsupportedLayerError as error:
        for place in error.places or ((model.name, model, error),):
            yield Problem(*place)
        return
    if not ends_linear:
        last = model.outputs[0]._keras_history.operation
        yield Problem(last.name, last, ValueError(_not_linear(last)))
    try:
        kept(model, "maps", lambda: check_maps(model))
    except MismatchError as error:
        yield Problem(model.name, model, error)


def _ends_linear(model: Any) -> bool:
    starts = getattr(model, "warm_starts", None)
    if starts is None or starts.signature != signature(model):
        return bool(kept(model, "ends linear", lambda: norm_shapes(model)[1]))
    # As it was when the model was built.
    if starts.problem is not None:
        raise starts.problem
    return bool(starts.ends_linear)


def graph_problem(model: Any) -> str | None:
    """Why the graph of a model is not what it computes, or `None`."""
    named = f"{model.name!r} is a {type(model).__name__}"
    if not hasattr(model, "inputs"):
        return f"{named} without a graph: build it from keras.Input, which the bound starts at"
    if is_graph(model):
        return None
    return (
        f"{named} with a call() of its own, or a __call__(): bounds follow the graph of layers from inputs "
        "to outputs, and would miss what else is done. Put that into the graph, as a layer with a rule "
        "(keraslip.register_rule)"
    )


def _not_linear(last: Any) -> str:
    remedy = (
        "keraslip.from_keras(model) leaves the softmax off"
        if is_softmax(last)
        else "Remove the activation at the end, as keraslip.from_keras(model) does with a softmax; a sigmoid "
        "for each of several classes is several answers, and has no certificate"
    )
    return (
        f"The model must end in a linear layer, for losses and certificates work on logits. {remedy}. "
        f"Received: last layer {last.name!r} of type {type(last).__name__}"
    )
