"""The TensorFlow process that exports for the other backends: `python -m keraslip.export.worker FOLDER`."""

import pickle
import sys
from pathlib import Path
from typing import Any

import keras

import keraslip  # noqa: F401 - registers the layers
from keraslip.export.elsewhere import ANSWER, ORDER
from keraslip.export.exporter import write
from keraslip.export.own_code import import_modules


def main(folder: Path) -> None:
    """Reads the order in the folder, writes the artefact, and what it says of the probes."""
    modules, settings, arguments = pickle.loads((folder / ORDER).read_bytes())
    # A layer may read them at every call.
    for name in settings.keys() - {"backend"}:
        getattr(keras.config, f"set_{name}")(settings[name])
    import_modules(modules)
    model = keras.models.load_model(folder / "model.keras")
    answer: Any
    try:
        answer = write(model, *arguments)
    except (ValueError, NotImplementedError, ImportError, RuntimeError) as error:
        answer = error
    (folder / ANSWER).write_bytes(pickle.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
