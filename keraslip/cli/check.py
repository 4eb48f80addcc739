"""`keraslip check`: which layers of a saved model have a rule."""

import typer
from rich.console import Console

from keraslip.cli.options import Model


def check(model: Model) -> None:
    """Show for each layer of a saved model whether a bound can pass it."""
    from keraslip.cli.saved import load
    from keraslip.models.check import check_model

    console = Console()
    complete = check_model(load(model), console)
    verdict = "A bound passes every layer." if complete else "No bound passes the layers in red."
    console.print(verdict)
    if not complete:
        raise typer.Exit(1)
