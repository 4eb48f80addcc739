"""The TensorFlow process that exports for the other backends: `python -m keraslip.export.worker FOLDER`."""

import importlib
import json
import sys
from pathlib import Path

import keras
import numpy as np

import keraslip  # noqa: F401 - registers the layers
from keraslip.export.exporter import _write


def main() -> None:
    """Reads the order in the folder, writes the artefact, and what it says of the probes."""
    folder = Path(sys.argv[1])
    order = json.loads((folder / "order.json").read_text())
    for name in order["modules"]:
        importlib.import_module(name)
    model = keras.models.load_model(folder / "model.keras")
    probes = np.load(folder / "probes.npy")
    artefact = Path(order["artefact"])
    found = _write(model, artefact, order["format"], order["metadata"], probes, order["epsilon"])
    np.savez(folder / "answers.npz", **found)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
