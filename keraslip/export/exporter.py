"""Exports a model: in this process on TensorFlow, else in a TensorFlow process; checked before it is kept."""

import importlib.util
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keraslip.certify.execution.executed import EXCESS
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.execution.precision import REMEDY
from keraslip.certify.execution.probe_inputs import probes
from keraslip.certify.norms.rounding import UNIT32, l2
from keraslip.certify.run.progress import prove_norms
from keraslip.export.elsewhere import write_elsewhere
from keraslip.export.working_folder import CARD, check_free, leftovers, put, working_folder
from keraslip.input_range import untold
from keraslip.progress import stages
from keraslip.typing import FilePath
from keraslip.version import __version__

FORMATS = ("tf_saved_model", "onnx")
#: Inputs that the written artefact is asked, and held against `certify(effort="frozen")`.
_PROBES = 16
_TOLERANCE = 1e-5
#: Packages that write a format, and the extra that brings each.
_NEEDED = {
    "tf_saved_model": {"tensorflow": "tensorflow"},
    "onnx": {"tensorflow": "tensorflow", "tf2onnx": "onnx", "onnxruntime": "onnx"},
}


def export_model(
    model: Any,
    path: FilePath,
    format: str,
    epsilon: float,
    verbose: bool = True,
    overwrite: bool = False,
) -> Path:
    """Writes an artefact with the functions `serve` and `certify`; see `LocalLipschitzModel.export`.

    It is checked at the radius epsilon before it takes its place.
    """
    target = Path(path)
    if format not in FORMATS:
        raise ValueError(f"format must be one of {FORMATS}. Received: format={format!r}")
    check_free(target, overwrite)
    left = leftovers(target)
    with stages("export", verbose) as told:
        told("the network is written down and probed")
        network, metadata = network_of(model)[0], _metadata(model)
        # A model that is refused is refused whatever is installed.
        _check_packages(format)
        asked = probes(model, _PROBES)
        prove_norms(network, told)
        with working_folder(target) as folder:
            artefact = folder / "unchecked"
            if keras.backend.backend() == "tensorflow":
                told(f"{format} is written, and asked {len(asked)} inputs")
                found = write(model, artefact, format, metadata, asked, epsilon)
            else:
                told(f"a TensorFlow process writes {format}: {keras.backend.backend()} cannot")
                found = write_elsewhere(model, artefact, format, metadata, asked, epsilon)
            told("its answers are held against the model's")
            _compare(model, asked, epsilon, found)
            put(artefact, target, folder)
    if verbose:
        print(
            f"{target}: answers as the model does, on {len(asked)} inputs at epsilon {epsilon:.4g}."
        )
        if left:
            names = ", ".join(str(path) for path in left)
            print(f"Left by exports that were killed, unless they still run; delete: {names}")
    return target


def missing_packages(format: str) -> list[str]:
    """Packages that a format needs and that are not installed."""
    return [name for name in _NEEDED[format] if importlib.util.find_spec(name) is None]


def _check_packages(format: str) -> None:
    if missing := missing_packages(format):
        extras = ",".join(dict.fromkeys(_NEEDED[format][name] for name in missing))
        raise ImportError(
            f"Export to {format} needs {' and '.join(missing)}, on every backend of Keras; install with "
            f"pip install 'keraslip[{extras}]'. Received: format={format!r}"
        )


def _metadata(model: Any) -> dict[str, Any]:
    _, digest = network_of(model)
    return {
        "guarantee": "proved",
        "effort": "frozen",
        "arithmetic": "float32",
        "bound_arithmetic": "float64, rounding accounted for",
        "statement": "certified: no x' in R^n with ||x' - x||_2 <= epsilon has another label, as executed "
        "in float32. Epsilon is in raw input units.",
        "input_range": model.input_range if model.compiled else None,
        "epsilon": model.epsilon_value if model.compiled else None,
        "network": digest,
        "backend": keras.backend.backend(),
        "versions": {"keraslip": __version__, "keras": keras.__version__, "numpy": np.__version__},
    }


def write(
    model: Any,
    artefact: Path,
    format: str,
    metadata: dict[str, Any],
    probes: np.ndarray,
    epsilon: float,
) -> dict[str, np.ndarray]:
    """Writes an artefact on the TensorFlow backend: what it says of the probes at a radius.

    The writers' versions are added to what it says of itself.
    """
    # Imported here: both need TensorFlow.
    saved_model = import_module("keraslip.export.saved_model")
    writer = import_module("keraslip.export.onnx") if format == "onnx" else saved_model
    versions = {name: import_module(name).__version__ for name in _NEEDED[format]}
    metadata = {**metadata, "versions": metadata["versions"] | versions}
    served = saved_model.ServedModel(model, metadata)
    writer.write(served, artefact, metadata)
    (artefact / CARD).write_text(json.dumps(metadata, indent=2) + "\n")
    served.test.save(artefact)
    found: dict[str, np.ndarray] = writer.answers(artefact, probes, epsilon)
    return found


def _compare(model: Any, x: np.ndarray, epsilon: float, found: dict[str, np.ndarray]) -> None:
    """Raises where the artefact's answers differ from the model's, or if it fails its self-test."""
    if not found["ratio"] <= EXCESS:
        raise RuntimeError(
            f"The exported graph computes in less than float32: it errs {float(found['ratio']):.0f} times as "
            f"much as float32 does in its self-test. It was not kept. Remedy: {REMEDY}; TensorFlow's own "
            "switches are in docs/export.md."
        )
    if names := differing(model, x, epsilon, found):
        raise RuntimeError(
            f"The exported graph answers differently from the model ({', '.join(names)}); it was "
            "not kept. Please report this."
        )


def differing(model: Any, x: np.ndarray, epsilon: float, found: dict[str, np.ndarray]) -> list[str]:
    """Names of a graph's answers at a radius that are not those of `certify(effort="frozen")`."""
    # The graph takes both x and epsilon for roundings of what was meant.
    radii = epsilon * (1.0 + 2.0 * UNIT32) + UNIT32 * (l2(x.astype("float64")) + epsilon)
    with untold():
        known = model.certify(x, epsilon=radii, effort="frozen", verbose=False)
    return [
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


def _near(found: np.ndarray, known: np.ndarray) -> bool:
    return bool((np.abs(found - known) <= _TOLERANCE * np.maximum(1.0, np.abs(known))).all())
