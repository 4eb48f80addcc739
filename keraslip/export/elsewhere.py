"""Exports in a TensorFlow process, for the backends that write no such graph themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from keraslip.export.own_code import own_modules
from keraslip.rules.signature import settings

#: Errors that the process hands back as they are.
ERRORS = (ValueError, NotImplementedError, ImportError, RuntimeError)


def write_elsewhere(
    model: Any,
    artefact: Path,
    format: str,
    metadata: dict[str, Any],
    probes: np.ndarray,
    epsilon: float,
) -> dict[str, np.ndarray]:
    """Saves the model, and has a TensorFlow process write the artefact and say what it answers.

    What keraslip raises there is raised here, a RuntimeError for the rest.
    """
    folder = artefact.parent / "asked"
    folder.mkdir()
    model.save(folder / "model.keras")
    np.save(folder / "probes.npy", probes)
    order = {
        "artefact": str(artefact.resolve()),
        "format": format,
        "metadata": metadata,
        "epsilon": epsilon,
        "modules": own_modules(model),
        "settings": {key: value for key, value in settings().items() if key != "backend"},
    }
    (folder / "order.json").write_text(json.dumps(order))
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        # The accelerator is in use by this process, and a graph is written without one.
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    command = [sys.executable, "-m", "keraslip.export.worker", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise _error(folder / "error.json", done.stderr)
    with np.load(folder / "answers.npz") as found:
        return {key: found[key] for key in found.files}


def _error(file: Path, printed: str) -> Exception:
    if file.exists():
        told = json.loads(file.read_text())
        kinds = {kind.__name__: kind for kind in ERRORS}
        return kinds[told["kind"]](told["message"])
    last = printed.strip().splitlines()[-1:] or ["no message"]
    return RuntimeError(f"The exporting TensorFlow process failed. Received: {last[0]}")
