"""What `from_keras` would make of a model, layer by layer, and everything that keeps it from doing so."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import keras
from rich.console import Console

from keraslip.checks import check_is_model
from keraslip.convert.builder import MASKED, plain_name
from keraslip.convert.conversion import as_graph, built
from keraslip.convert.plan import Plan, does_nothing
from keraslip.models.check import Fate, print_cost, print_fates
from keraslip.rules import UnsupportedLayerError, rule_for
from keraslip.rules.fused import spoken
from keraslip.rules.head import is_softmax, probabilities
from keraslip.rules.walk import visits


def check_plain(model: Any, console: Console | None = None) -> bool:
    """Prints what becomes of the layers of a plain Keras model, equal ones together, and its price.

    Args:
        model: A built Keras classifier.
        console: Where to print; standard output if `None`.

    Returns:
        Whether `keraslip.from_keras` takes it.

    Raises:
        TypeError: for what is no Keras model.

    Example:

    ```python
    keraslip.convert.check_plain(keras.saving.load_model("mine.keras"))
    ```
    """
    check_is_model(model, "check_plain")
    fates, converted = _fates(model)
    complete = print_fates(f"{model.name}: what keraslip makes of each layer", fates, console)
    if converted is not None:
        print_cost(converted, console)
    return complete


def _fates(model: Any) -> tuple[list[Fate], Any]:
    """What happens at each layer, and the model that becomes of it, `None` if none does."""
    fates: list[Fate] = []
    try:
        graph = as_graph(model, None)
        fates = list(_of_layers(graph))
        if any(fate.refused for fate in fates):
            return fates, None
        return fates, built(graph)[0]
    except (UnsupportedLayerError, ValueError) as error:
        places = getattr(error, "places", ()) or ((model.name, model, error),)
        return list(_with_refusals(fates, places)), None


def _with_refusals(fates: list[Fate], places: Any) -> Iterator[Fate]:
    """What happens at each layer, where the new network shows why some of them cannot be passed."""
    left = list(places)
    for fate in fates:
        # What is no layer is the same operation in the new network; a layer has its path as its name.
        found = [p for p in left if p[1] is fate.operation or p[0] == plain_name(fate.path)]
        left = [place for place in left if place not in found]
        refused = (Fate(fate.path, fate.operation, f"none: {error}", True) for *_, error in found)
        yield next(refused, fate)
    for path, operation, error in left:
        yield Fate(path, operation, f"none: {error}", True)


def _of_layers(graph: Any) -> Iterator[Fate]:
    plan = None
    with suppress(UnsupportedLayerError):  # the layer is named where it stands
        plan = Plan.of(graph)
    found = list(visits(graph))
    last = found[-1].operation
    for visit in found:
        operation = visit.operation
        if isinstance(operation, keras.layers.InputLayer):
            continue
        says = _becomes(operation, plan, last)
        if says is None and visit.problem is None:
            says = type(rule_for(operation, visit.path)).__name__
        refused = says is None
        yield Fate(visit.path, operation, says or f"none: {visit.problem}", refused)


def _becomes(operation: Any, plan: Plan | None, last: Any) -> str | None:
    """What another layer, or nothing, takes the place of; `None` for what stays."""
    gone = plan is not None and id(operation) in plan.gone
    if isinstance(operation, keras.layers.BatchNormalization):
        return "folds into the layer before it" if gone else "becomes a fixed scale and shift"
    if gone or does_nothing(operation):
        return "left out: it does nothing at inference"
    if operation is last and is_softmax(operation):
        return "certified on what the softmax reads"
    if operation is last and probabilities(operation) == "sigmoid":
        return "becomes two logits, whose difference the sigmoid read"
    if (masked := MASKED.get(type(operation))) is not None:
        activation = getattr(operation, "activation", keras.activations.linear)
        try:
            rule_for(operation)
        except UnsupportedLayerError:
            return None
        fused = "" if activation is keras.activations.linear else f", {spoken(activation)} behind"
        return f"{masked.__name__}, same weights{fused}"
    return None
