"""Saved models as the commands take them: a `.keras` file or the folder of a run."""

from pathlib import Path
from typing import Any

import keras

from keraslip import registered  # noqa: F401 - what a saved model may hold
from keraslip.cli.run_folder import BEST, LAST, MODEL
from keraslip.models import LocalLipschitzModel


def model_file(path: Path) -> Path:
    """The file with the model: of a run folder, the best one of the run.

    Args:
        path: A `.keras` file or a run folder.

    Raises:
        FileNotFoundError: if there is none.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no model file {path}.")
    if not path.is_dir():
        return path
    for name in (BEST, MODEL, LAST):
        if (path / name).exists():
            return path / name
    raise FileNotFoundError(f"The folder {path} holds no {BEST}, {MODEL} or {LAST}.")


def load(path: Path, compile: bool = False) -> Any:
    """Loads a saved model, with a message for a file that is none.

    Args:
        path: A `.keras` file or a run folder.
        compile: Whether to restore what the model was compiled with.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no Keras model, or one without a graph.
    """
    path = model_file(path)
    try:
        model = keras.models.load_model(path, compile=compile)
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded as a Keras model: {error}") from error
    if not hasattr(model, "_nodes_by_depth") and not isinstance(model, keras.Sequential):
        raise ValueError(
            "Only functional and sequential models have a graph to check. "
            f"Received: {type(model).__name__} from {path}"
        )
    return model


def load_bounded(path: Path) -> LocalLipschitzModel:
    """Loads a model that can be certified, compiled as it was saved.

    Args:
        path: A `.keras` file or a run folder.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no `keraslip.LocalLipschitzModel`.
    """
    model = load(path, compile=True)
    if not isinstance(model, LocalLipschitzModel):
        raise ValueError(
            f"{path} holds a {type(model).__name__}, not a keraslip.LocalLipschitzModel; build it "
            "from the same layers with keraslip.LocalLipschitzModel(inputs, outputs)."
        )
    return model
