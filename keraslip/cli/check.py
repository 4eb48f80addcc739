"""`keraslip check`: what a certificate makes of each layer of a saved model."""

import typer
from rich.console import Console

from keraslip.cli.options import Code, Model


def check(model: Model, code: Code = None) -> None:
    """Show for each layer of a model whether a bound can pass it, and what a plain model's layers become."""
    from keraslip.cli.saved import load
    from keraslip.convert import check_plain
    from keraslip.convert.conversion import is_ready
    from keraslip.models.check import check_model

    console, loaded = Console(), load(model)
    own = is_ready(loaded)
    complete = check_model(loaded, console) if own else check_plain(loaded, console)
    console.print(
        "A bound passes every layer." if complete else "No bound passes the layers in red."
    )
    if complete and not own:
        console.print(
            f"Next: keraslip certify {model} --data NAME --epsilon E, or keraslip convert {model} NEW.keras "
            "to train it further.",
            soft_wrap=True,
        )
    if not complete:
        raise typer.Exit(1)
