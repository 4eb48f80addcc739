"""`keraslip check`: which layers of a saved model have a rule."""

from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from keraslip.models.check import check_model


def run_check(path: Path, console: Console) -> bool:
    """Prints the table of a saved model.

    Args:
        path: A `.keras` file.
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


def load(path: Path) -> Any:
    """Loads a saved model, with a message for a file that is none."""
    if not path.exists():
        raise FileNotFoundError(f"There is no model file {path}.")
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded as a Keras model: {error}") from error
    if not hasattr(model, "_nodes_by_depth") and not isinstance(model, keras.Sequential):
        raise ValueError(
            "Only functional and sequential models have a graph to check. "
            f"Received: {type(model).__name__} from {path}"
        )
    return model
