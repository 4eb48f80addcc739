"""Exports a model: in this process on TensorFlow, else in a TensorFlow process; checked before it is kept."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keraslip.certify.certifier import network_of
from keraslip.version import __version__

FORMATS = ("tf_saved_model", "onnx")
#: Inputs that the written artefact is asked, and held against `certify(effort="frozen")`.
_PROBES = 16
_TOLERANCE = 1e-5


def export_model(
    model: Any,
    path: str | os.PathLike[str],
    format: str,
    epsilon: float,
    verbose: bool = True,
    overwrite: bool = False,
) -> Path:
    """Writes an artefact with the functions `serve` and `certify`.

    Args:
        model: A `LocalLipschitzModel`.
        path: Folder (SavedModel) or file (ONNX).
        format: `"tf_saved_model"` or `"onnx"`.
        epsilon: The radius at which the artefact is checked.
        verbose: Whether to say what happens.
        overwrite: Whether to replace what is there, once the new artefact is checked.

    Returns:
        The path.

    Raises:
        ValueError: for an unknown format, or a model that cannot be certified.
        FileExistsError: if something is at the path.
        ImportError: if TensorFlow, or what ONNX needs, is missing.
        RuntimeError: if the artefact does not answer as the model does; it is not kept.
    """
    target = Path(path)
    if format not in FORMATS:
        raise ValueError(f"format must be one of {FORMATS}. Received: format={format!r}")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; remove it, or choose another path.")
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            "Export writes the graph with TensorFlow, whatever the backend; install it with "
            "pip install 'keraslip[tensorflow]'."
        )
    metadata = _metadata(model)
    probes = _probes(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".keraslip-export-") as folder:
        artefact = Path(folder) / target.name
        if keras.backend.backend() == "tensorflow":
            found = _write(model, artefact, format, metadata, probes, epsilon)
        else:
            if verbose:
                print(
                    f"The {keras.backend.backend()} backend writes no such graph itself: exporting through "
                    "a TensorFlow process."
                )
            found = _write_elsewhere(model, artefact, format, metadata, probes, epsilon)
        _compare(model, probes, epsilon, found)
        if target.exists():
            shutil.rmtree(target)
        shutil.move(artefact, target)
    if verbose:
        print(
            f"{target}: answers as the model does, on {len(probes)} inputs at epsilon {epsilon:.4g}."
        )
    return target


def _metadata(model: Any) -> dict[str, Any]:
    _, digest = network_of(model)
    return {
        "guarantee": "proved",
        "effort": "frozen",
        "arithmetic": "float32",
        "statement": "certified: no x' in R^n with ||x' - x||_2 <= epsilon has another label, as executed "
        "in float32. Epsilon is in raw input units.",
        "input_range": model.input_range if model.compiled else None,
        "epsilon": model.epsilon_value if model.compiled else None,
        "weights": digest,
        "backend": keras.backend.backend(),
        "versions": {"keraslip": __version__, "keras": keras.__version__},
    }


def _probes(model: Any) -> np.ndarray:
    low, high = (model.input_range if model.compiled else None) or (0.0, 1.0)
    shape = (_PROBES, *model.inputs[0].shape[1:])
    return np.random.default_rng(0).uniform(low, high, shape).astype("float32")


def _write(
    model: Any,
    artefact: Path,
    format: str,
    metadata: dict[str, Any],
    probes: np.ndarray,
    epsilon: float,
) -> dict[str, np.ndarray]:
    """Writes on the TensorFlow backend; returns what the artefact says of the probes."""
    # Imported here: both need TensorFlow.
    writer = import_module(f"keraslip.export.{'onnx' if format == 'onnx' else 'saved_model'}")
    writer.write(model, artefact, metadata)
    found: dict[str, np.ndarray] = writer.answers(artefact, probes, epsilon)
    return found


def _write_elsewhere(
    model: Any,
    artefact: Path,
    format: str,
    metadata: dict[str, Any],
    probes: np.ndarray,
    epsilon: float,
) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder / "model.keras")
        np.save(folder / "probes.npy", probes)
        order = {
            "artefact": str(artefact.resolve()),
            "format": format,
            "metadata": metadata,
            "epsilon": epsilon,
            "modules": _modules(model),
        }
        (folder / "order.json").write_text(json.dumps(order))
        paths = [p for p in sys.path if p]
        environment = {
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        command = [sys.executable, "-m", "keraslip.export.worker", str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise RuntimeError(f"The exporting TensorFlow process failed: {last[0]}")
        with np.load(folder / "answers.npz") as found:
            return {key: found[key] for key in found.files}


def _modules(model: Any) -> list[str]:
    """Modules of the user's own layers and losses: the exporting process imports them."""
    kinds = {type(layer) for layer in model._flatten_layers()}
    kinds.add(type(getattr(model, "robust_loss", model)))
    names = {kind.__module__ for kind in kinds}
    return sorted(name for name in names if name.split(".")[0] not in ("keras", "keraslip"))


def _compare(model: Any, x: np.ndarray, epsilon: float, found: dict[str, np.ndarray]) -> None:
    """Holds the artefact's answers against the model's.

    Raises:
        RuntimeError: where they differ.
    """
    known = model.certify(x, epsilon=epsilon, effort="frozen", verbose=False)
    differing = [
        name
        for name, same in (
            ("label", np.array_equal(found["label"], known.label)),
            # Never certified where the model is not; the self-check may say less.
            ("certified", np.array_equal(found["certified"], known.certified)),
            ("margin", _near(found["margin"], known.margin)),
            ("lipschitz", _near(found["lipschitz"], known.lipschitz)),
        )
        if not same
    ]
    if differing:
        raise RuntimeError(
            f"The exported graph answers differently from the model ({', '.join(differing)}); it was "
            "not kept. Please report this."
        )


def _near(found: np.ndarray, known: np.ndarray) -> bool:
    return bool((np.abs(found - known) <= _TOLERANCE * np.maximum(1.0, np.abs(known))).all())
