"""`keraslip check`: which layers of a saved model have a rule."""

from pathlib import Path

from rich.console import Console

from keraslip.cli.saved import load
from keraslip.models.check import check_model


def run_check(path: Path, console: Console) -> bool:
    """Prints the table of a saved model.

    Args:
        path: A `.keras` file or a run folder.
        console: Where to print.

    Returns:
        Whether every layer has a rule.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no Keras model, or one without a graph.
    """
    model = load(path)
    complete = check_model(model, console)
    verdict = "A bound passes every layer." if complete else "No bound passes the layers in red."
    console.print(verdict)
    return complete
