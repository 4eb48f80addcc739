"""Which layers of a model have a rule, and what else keeps it from being certified."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from keraslip.rules import rule_for
from keraslip.rules.bounded import problems
from keraslip.rules.walk import visits


def check_model(model: Any, console: Console | None = None) -> bool:
    """Prints every layer of a model with its rule, and why the model cannot be certified, if so.

    Args:
        model: A functional or sequential Keras model onto logits.
        console: Where to print; standard output if `None`.

    Returns:
        Whether a `LocalLipschitzModel` of these layers can be compiled.

    Example:

    ```python
    keraslip.check_model(model)
    ```
    """
    rows = list(_rows(model))
    table = Table(title=f"{model.name}: how each layer carries the bound")
    for column in ("layer", "type", "output shape", "rule"):
        table.add_column(column, overflow="fold")
    for path, operation, reasons in rows:
        rule = f"none: {' '.join(reasons)}" if reasons else type(rule_for(operation)).__name__
        style = "bold red" if reasons else None
        table.add_row(path, type(operation).__name__, _shape(operation), rule, style=style)
    (console or Console()).print(table)
    return not any(reasons for _, _, reasons in rows)


def _rows(model: Any) -> Iterator[tuple[str, Any, list[str]]]:
    """Path, operation and reasons against it: of the model itself where it has any, then of every layer."""
    found = [(problem.path, problem.operation, str(problem.error)) for problem in problems(model)]
    whole = [reason for _, operation, reason in found if operation is model]
    if whole:
        yield model.name, model, whole
    for visit in visits(model) if getattr(model, "inputs", None) else ():
        reasons = [reason for _, operation, reason in found if operation is visit.operation]
        yield visit.path, visit.operation, reasons


def _shape(operation: Any) -> str:
    shape = getattr(getattr(operation, "output", None), "shape", None)
    return "-" if shape is None else str(tuple(shape))
