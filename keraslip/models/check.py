"""Which layers of a model have a rule, and what else keeps it from being certified."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from keraslip.certify.run.cost import cost_of
from keraslip.checks import check_is_model
from keraslip.rules import rule_for
from keraslip.rules.bounded import problems
from keraslip.rules.fused import build_fused
from keraslip.rules.walk import is_graph, visits

#: Names of equal layers that are written out; of more that pass, one.
_NAMED = 3


@dataclass(frozen=True)
class Fate:
    """What happens at a layer."""

    path: str  #: Of the layer in the model.
    operation: Any  #: The layer, or the model.
    says: str  #: Rule, what becomes of the layer, or why nothing can.
    refused: bool = False  #: Whether it is the last of these.


def check_model(model: Any, console: Console | None = None) -> bool:
    """Prints the layers of a model with their rules, equal ones together, and why it cannot be certified.

    Every reason is told at once; without any, what memory and time a certificate takes. A plain Keras model
    is held against what `compile` wants of a `LocalLipschitzModel`; what `keraslip.from_keras` would make of
    it is told by `keraslip check FILE`.

    Args:
        model: A functional or sequential Keras model onto logits.
        console: Where to print; standard output if `None`.

    Returns:
        Whether a `LocalLipschitzModel` of these layers can be compiled.

    Raises:
        TypeError: for what is no Keras model.

    Example:

    ```python
    keraslip.check_model(model)
    ```
    """
    check_is_model(model, "check_model")
    if is_graph(model) and getattr(model, "inputs", None):
        build_fused(model)
    title = f"{model.name}: how each layer carries the bound"
    complete = print_fates(title, _fates(model), console)
    if complete:
        print_cost(model, console)
    return complete


def print_cost(model: Any, console: Console | None = None) -> None:
    """Prints what a certificate of a model takes, and a remedy where that is more memory than there is."""
    cost = cost_of(model)
    console = console or Console()
    console.print(str(cost), soft_wrap=True, highlight=False)
    if cost.warning is not None:
        console.print(cost.warning, soft_wrap=True, highlight=False, style="bold red")


def print_fates(title: str, fates: Iterable[Fate], console: Console | None = None) -> bool:
    """Prints what happens at each layer, equal layers in one row; returns whether none is refused."""
    groups: dict[tuple[str, str], list[Fate]] = {}
    for fate in fates:
        # What is said of a layer may name its path.
        says = fate.says.replace(f" at {fate.path!r}", "")
        groups.setdefault((type(fate.operation).__name__, says), []).append(fate)
    table = Table(title=title)
    for column in ("layer", "type", "output shape", "rule"):
        table.add_column(column, overflow="fold")
    for (kind, says), found in groups.items():
        alone = len(found) == 1
        shapes = {_shape(fate.operation) for fate in found}
        table.add_row(
            _names(found),
            kind if alone else f"{len(found)} x {kind}",
            shapes.pop() if len(shapes) == 1 else "several",
            found[0].says if alone else says,
            style="bold red" if found[0].refused else None,
        )
    (console or Console()).print(table)
    return not any(fate.refused for found in groups.values() for fate in found)


def _fates(model: Any) -> Iterator[Fate]:
    """Reasons against the model itself where it has any, then rule or reasons of every layer."""
    found = [(problem.operation, str(problem.error)) for problem in problems(model)]
    whole = [reason for operation, reason in found if operation is model]
    if whole:
        yield Fate(model.name, model, f"none: {' '.join(whole)}", True)
    for visit in visits(model) if getattr(model, "inputs", None) else ():
        reasons = [reason for operation, reason in found if operation is visit.operation]
        says = f"none: {' '.join(reasons)}" if reasons else type(rule_for(visit.operation)).__name__
        yield Fate(visit.path, visit.operation, says, bool(reasons))


def _names(found: list[Fate]) -> str:
    named = _NAMED if found[0].refused or len(found) <= _NAMED else 1
    shown = ", ".join(fate.path for fate in found[:named])
    more = len(found) - named
    return f"{shown} and {more} more" if more > 0 else shown


def _shape(operation: Any) -> str:
    shape = getattr(getattr(operation, "output", None), "shape", None)
    return "-" if shape is None else str(tuple(shape))
