"""The TensorFlow process that exports for the other backends: `python -m keraslip.export.worker FOLDER`."""

import json
import sys
from pathlib import Path

import keras
import numpy as np

import keraslip  # noqa: F401 - registers the layers
from keraslip.export.elsewhere import ERRORS
from keraslip.export.exporter import write
from keraslip.export.own_code import import_modules


def main(folder: Path) -> None:
    """Reads the order in the folder, writes the artefact, and what it says of the probes."""
    order = json.loads((folder / "order.json").read_text())
    # A layer may read them at every call.
    for name, value in order["settings"].items():
        getattr(keras.config, f"set_{name}")(value)
    import_modules(order["modules"])
    model = keras.models.load_model(folder / "model.keras")
    probes = np.load(folder / "probes.npy")
    artefact = Path(order["artefact"])
    try:
        found = write(model, artefact, order["format"], order["metadata"], probes, order["epsilon"])
    except ERRORS as error:
        kind = next(kind.__name__ for kind in (type(error), *ERRORS) if kind in ERRORS)
        told = {"kind": kind, "message": str(error)}
        (folder / "error.json").write_text(json.dumps(told))
        raise
    np.savez(folder / "answers.npz", **found)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
