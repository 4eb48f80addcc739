"""Exports in a TensorFlow process, for the backends that write no such graph themselves."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from keraslip.export.own_code import own_modules
from keraslip.rules.signature import settings

#: Files of what the process is told, and of its answer: an error of keraslip's, perhaps.
ORDER, ANSWER = "order.pickle", "answer.pickle"


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
    arguments = artefact.resolve(), format, metadata, probes, epsilon
    (folder / ORDER).write_bytes(pickle.dumps((own_modules(model), settings(), arguments)))
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
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"The exporting TensorFlow process failed. Received: {last[0]}")
    answer = pickle.loads((folder / ANSWER).read_bytes())
    if isinstance(answer, Exception):
        raise answer
    found: dict[str, np.ndarray] = answer
    return found
