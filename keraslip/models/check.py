"""Which layers of a model have a rule."""

from typing import Any

from rich.console import Console
from rich.table import Table

from keraslip.models.validation import graph_problem
from keraslip.rules import rule_for
from keraslip.rules.walk import Visit, visits


def check_model(model: Any, console: Console | None = None) -> bool:
    """Prints every layer of a model with its rule, or why there is none.

    Args:
        model: A functional or sequential Keras model.
        console: Where to print; standard output if `None`.

    Returns:
        Whether every layer has a rule, and the model computes what its graph says.

    Example:

    ```python
    keraslip.check_model(model)
    ```
    """
    found = _visits(model)
    table = Table(title=f"{model.name}: how each layer carries the bound")
    for column in ("layer", "type", "output shape", "rule"):
        table.add_column(column, overflow="fold")
    for visit in found:
        style = None if visit.problem is None else "bold red"
        table.add_row(
            visit.path,
            type(visit.operation).__name__,
            _shape(visit.operation),
            _rule(visit),
            style=style,
        )
    (console or Console()).print(table)
    return all(visit.problem is None for visit in found)


def _visits(model: Any) -> list[Visit]:
    """Every operation, and before them the model itself where its graph is not what it computes."""
    problem = graph_problem(model)
    whole = [] if problem is None else [Visit(model.name, model, problem)]
    return whole + (list(visits(model)) if hasattr(model, "inputs") else [])


def _rule(visit: Visit) -> str:
    if visit.problem is not None:
        return f"none: {visit.problem}"
    return type(rule_for(visit.operation)).__name__


def _shape(operation: Any) -> str:
    shape = getattr(getattr(operation, "output", None), "shape", None)
    return "-" if shape is None else str(tuple(shape))
