"""Saved models as the commands take them: a `.keras` file or the folder of a run."""

from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from keraslip import registered  # noqa: F401 - what a saved model may hold
from keraslip.cli.own_model import build_alone
from keraslip.cli.run_folder import BEST, CONFIG, LAST, MODEL, read_json
from keraslip.cli.usual import is_own, own_file
from keraslip.convert.conversion import from_keras, is_ready
from keraslip.models import LocalLipschitzModel


def model_file(path: Path) -> Path:
    """The file with the model, of a run folder the best one; `FILE.py:FUNCTION` stands for itself."""
    if is_own(str(path)):
        return path
    if not path.exists():
        raise FileNotFoundError(
            f"There is no file or folder {path}. Name a .keras file, the folder of a run, or "
            "FILE.py:FUNCTION."
        )
    if not path.is_dir():
        return path
    for name in (BEST, MODEL, LAST):
        if (path / name).exists():
            return path / name
    raise FileNotFoundError(
        f"The folder {path} holds no {BEST}, {MODEL} or {LAST}. Name a .keras file, or a folder in which "
        "keraslip train has finished an epoch."
    )


def load(path: Path, compile: bool = False) -> Any:
    """Loads a saved model, with a message for a file that is none, or holds a model without a graph."""
    path = model_file(path)
    model = build_alone(str(path)) if is_own(str(path)) else _loaded(path, compile)
    if not hasattr(model, "_nodes_by_depth") and not isinstance(model, keras.Sequential):
        raise ValueError(
            "Only functional and sequential models have a graph to check. "
            f"Received: {type(model).__name__} from {path}"
        )
    return model


def _loaded(path: Path, compile: bool) -> Any:
    try:
        return keras.models.load_model(path, compile=compile)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be loaded as a Keras model: {error}{_remedy(path, error)}"
        ) from error


def _remedy(path: Path, error: Exception) -> str:
    """How layers of one's own become known: the folder's word alone runs no code, it may be a stranger's."""
    config = read_json(path.parent / CONFIG)
    named = own_file(str(config.get("application", ""))) if isinstance(config, dict) else ""
    if not named and "registered_name" not in str(error):
        return ""
    whose = (
        f"The run says that they are in {named}: if you trust that file, add" if named else "Add"
    )
    return f" Layers of your own are known from a file that you name. {whose} --code {named or 'FILE.py'}"


def load_bounded(path: Path) -> LocalLipschitzModel:
    """Loads a model that can be certified: compiled as it was saved, or converted from a plain Keras one."""
    return bounded(load_any(path), path)


def bounded(model: Any, path: Path) -> LocalLipschitzModel:
    """The loaded model itself if it can be certified, or what it is converted to, which is said."""
    if is_ready(model):
        return model
    whose = (
        f"a plain {type(model).__name__}"
        if not isinstance(model, LocalLipschitzModel)
        else "a LocalLipschitzModel onto probabilities"
    )
    try:
        converted = from_keras(model)
    except (NotImplementedError, ValueError) as error:
        raise ValueError(
            f"{path} holds {whose}, which cannot be certified as it is: {error}"
        ) from error
    Console(stderr=True).print(
        f"{path} is {whose}: converted, with the same weights, into a network in float32 whose answers are "
        "the same but for rounding. Certificates are about that network: run it in place of this one "
        "(keraslip convert writes it down).",
        soft_wrap=True,
    )
    return converted


def load_any(path: Path) -> Any:
    """Loads a model from a `.keras` file or run folder, compiled as it was saved where it is one of ours."""
    try:
        return load(path, compile=True)
    except ValueError:
        # A loss or metric of the user's own, perhaps: no matter, but for our own models.
        model = load(path)
        if isinstance(model, LocalLipschitzModel):
            raise
        return model


def load_logits(path: Path) -> Any:
    """Loads a model to attack: one that can be certified where that can be, else what it is."""
    model = load_any(path)
    if is_ready(model):
        return model
    try:
        return from_keras(model)
    except (NotImplementedError, ValueError):
        return model
