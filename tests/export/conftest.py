"""Exported models, written once for all tests."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

#: Of `tests.export.nets`. Nothing that needs Keras is imported here, see tests/conftest.py.
ACTIVATIONS = ("clipped_maxmin", "clipped_relu", "relu")


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """By activation: a model, its SavedModel, and what that said in a process of its own.

    The first is exported by the command. On JAX and PyTorch it is the only one: each takes a process.
    """
    import keras

    from keraslip.cli.export import export
    from tests.export.nets import EPSILON, build, images

    folder = tmp_path_factory.mktemp("exported")
    first, *others = ACTIVATIONS
    models = {first: build(first)}
    models[first].save(folder / "model.keras")
    out = folder / first
    out.mkdir()
    export(folder / "model.keras", out, overwrite=True)
    if keras.backend.backend() == "tensorflow":
        for name in others:
            models[name] = build(name)
            models[name].export(folder / name, verbose=False)
    x, each = images()
    np.savez(folder / "questions.npz", x=x, each=each, epsilon=EPSILON)
    script = Path(__file__).with_name("ask.py")
    paths = [folder / "questions.npz", *(folder / name for name in models)]
    asked = [sys.executable, str(script), *map(str, paths)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    said = dict(zip(models, json.loads(done.stdout), strict=True))
    return {
        name: SimpleNamespace(model=model, path=folder / name, said=said[name])
        for name, model in models.items()
    }


@pytest.fixture(params=ACTIVATIONS)
def served(request, exported):
    """One of the exported models."""
    if request.param not in exported:
        pytest.skip("one network shows that the other backends' process works")
    return exported[request.param]
