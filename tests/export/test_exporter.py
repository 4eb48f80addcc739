"""What is kept, what is refused, and what a stopped export leaves; with a graph that is made up."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import keraslip
from keraslip.export import exporter, own_code
from keraslip.files import run_file
from tests.export.nets import EPSILON, build, compiled, linear, on_tensorflow

ROOT = Path(__file__).parents[2]


def pretend(monkeypatch, change=lambda found: None):
    """Has the writers write a made-up artefact, which answers as the model does, but for a change."""

    def write(model, artefact, format, metadata, probes, epsilon):
        artefact.mkdir()
        (artefact / "keraslip.json").write_text(json.dumps(metadata))
        known = model.certify(probes, epsilon=epsilon, effort="frozen")
        names = ("label", "certified", "margin", "lipschitz")
        found = {name: np.array(getattr(known, name)) for name in names} | {"ratio": np.array(1.0)}
        change(found)
        return found

    monkeypatch.setattr(exporter, "_check_packages", lambda format: None)
    monkeypatch.setattr(exporter, "write", write)
    monkeypatch.setattr(exporter, "write_elsewhere", write)


def test_an_artefact_that_answers_as_the_model_is_kept(tmp_path, monkeypatch, capsys):
    pretend(monkeypatch, lambda found: found["margin"].__iadd__(1e-7))
    linear().export(tmp_path / "new" / "served")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["served"]
    assert f"on 16 inputs at epsilon {EPSILON}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["label", "certified", "margin", "lipschitz"])
def test_an_artefact_that_answers_differently_is_not_kept(tmp_path, monkeypatch, name):
    def change(found):
        old = found[name][3]
        found[name][3] = {"label": (old + 1) % 3, "certified": not old}.get(name, old + 1e-4)

    pretend(monkeypatch, change)
    with pytest.raises(RuntimeError, match=rf"differently from the model \({name}\)"):
        linear().export(tmp_path / "served", verbose=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ratio", [40.0, np.inf, np.nan])
def test_an_artefact_that_fails_its_self_test_is_not_kept(tmp_path, monkeypatch, ratio):
    pretend(monkeypatch, lambda found: found["ratio"].fill(ratio))
    with pytest.raises(RuntimeError, match=f"in less than float32: it errs {ratio:.0f} times"):
        linear().export(tmp_path / "served", verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_no_number_is_not_kept(tmp_path, monkeypatch):
    pretend(monkeypatch, lambda found: found["margin"].fill(np.nan))
    with pytest.raises(RuntimeError, match="margin"):
        linear().export(tmp_path / "served", verbose=False)


def test_only_artefacts_and_empty_folders_are_replaced(tmp_path, monkeypatch):
    pretend(monkeypatch)
    model, out = linear(), tmp_path / "served"
    out.mkdir()
    with pytest.raises(FileExistsError, match="choose another path"):
        model.export(out, verbose=False)
    model.export(out, verbose=False, overwrite=True)
    (out / "of the old one").touch()
    model.export(out, verbose=False, overwrite=True)
    assert [path.name for path in out.iterdir()] == ["keraslip.json"]
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "thesis.txt").touch()
    for path in (notes, notes / "thesis.txt"):
        with pytest.raises(FileExistsError, match="holds no exported model"):
            model.export(path, verbose=False, overwrite=True)
    assert (notes / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("format", "missing", "told"),
    [
        ("tf_saved_model", ("tensorflow",), r"needs tensorflow, .*keraslip\[tensorflow\]"),
        ("onnx", ("tensorflow",), r"needs tensorflow, .*keraslip\[tensorflow\]"),
        ("onnx", ("tf2onnx",), r"needs tf2onnx, .*keraslip\[onnx\]"),
        ("onnx", ("onnxruntime",), r"needs onnxruntime, .*keraslip\[onnx\]"),
        (
            "onnx",
            ("tensorflow", "tf2onnx", "onnxruntime"),
            r"tensorflow and tf2onnx and onnxruntime, .*keraslip\[tensorflow,onnx\]",
        ),
    ],
)
def test_what_is_missing_is_named(tmp_path, monkeypatch, format, missing, told):
    def find_spec(name):
        return None if name in missing else object()

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(ImportError, match=told):
        linear().export(tmp_path / "served", format=format)
    assert list(tmp_path.iterdir()) == []


def test_arguments_that_would_do_nothing_are_refused(tmp_path):
    with pytest.raises(TypeError, match="Received: input_signature"):
        linear().export(tmp_path / "served", input_signature=[])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_refused(tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    with pytest.raises(ValueError, match="about float32 execution.*computes in .*float16"):
        linear().export(tmp_path / "served", verbose=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_rounded_inputs_are_refused(tmp_path, dtype):
    inputs = keras.Input((4,), dtype=dtype)
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    model = compiled(inputs, keraslip.layers.MaskedLipschitzDense(3)(scaled))
    with pytest.raises(ValueError, match=f"rounds its inputs to {dtype}.*Received: "):
        model.export(tmp_path / "served", verbose=False)


def test_a_layer_without_weights_in_half_precision_is_refused(tmp_path):
    inputs = keras.Input((4,))
    x = keraslip.layers.MaskedLipschitzDense(4)(inputs)
    x = keras.layers.ReLU(dtype="bfloat16", name="half")(x)
    model = compiled(inputs, keraslip.layers.MaskedLipschitzDense(3)(x))
    with pytest.raises(ValueError, match="'half' computes in bfloat16"):
        model.export(tmp_path / "served", verbose=False)


def test_layers_that_only_a_script_knows_are_named(monkeypatch):
    model = build("relu")
    monkeypatch.setattr(keraslip.layers.MaskedLipschitzDense, "__module__", "__main__")
    with pytest.raises(ValueError, match="script or notebook.*Received: MaskedLipschitzDense"):
        own_code.own_modules(model)


OWN = """
import keras
import keraslip

@keras.saving.register_keras_serializable("test_own_code")
class Same(keras.layers.Layer):
    def call(self, x):
        return keras.ops.copy(x)

@keraslip.register_rule(Same)
class SameRule(keraslip.rules.LinearRule):
    def linear_map(self, layer, in_shape):
        return keraslip.linear.DenseMap(keras.ops.eye(3), in_shape)
"""
START = """
import keras

class Start(keras.initializers.Orthogonal):  # known to Keras by its module alone
    pass
"""


def test_code_of_ones_own_is_imported_from_the_files_that_were_run(tmp_path, monkeypatch):
    for name, text in {"own_layer": OWN, "own_start": START}.items():
        (tmp_path / f"{name}.py").write_text(text)
        run_file(name, tmp_path / f"{name}.py")
    layer, start = sys.modules["own_layer"], sys.modules["own_start"]
    inputs = keras.Input((3,))
    last = keraslip.layers.MaskedLipschitzDense(2, kernel_initializer=start.Start())
    found = own_code.own_modules(compiled(inputs, last(layer.Same()(inputs))))
    assert found == {name: str(tmp_path / f"{name}.py") for name in ("own_layer", "own_start")}
    for name in found:
        monkeypatch.delitem(sys.modules, name)
    own_code.import_modules(found)
    assert sys.modules["own_start"].Start is not start.Start
    assert keras.saving.get_registered_object("test_own_code>Same") is not layer.Same


def start(out, mark):
    """A process that exports, writes something that looks whole, and then hangs."""
    script = f"""
import signal
import time
from pathlib import Path
from keraslip.export import exporter
from tests.export.nets import linear

def write(model, artefact, *_):
    artefact.mkdir()
    (artefact / "saved_model.pb").touch()
    Path({str(mark)!r}).touch()
    time.sleep(600)

# A process started in the background may have been told to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
exporter._check_packages = lambda format: None
exporter.write = exporter.write_elsewhere = write
linear().export({str(out)!r}, overwrite=True)
"""
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, stderr=subprocess.PIPE
    )


@on_tensorflow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_export_leaves_what_was_there(tmp_path, monkeypatch, capsys, number):
    out, mark = tmp_path / "out" / "served", tmp_path / "mark"
    out.mkdir(parents=True)
    (out / "keraslip.json").write_text("the old one")
    process = start(out, mark)
    try:
        while not mark.exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        printed = process.communicate()[1]
    finally:
        process.kill()
    assert mark.exists(), printed.decode()
    assert [path.name for path in out.iterdir()] == ["keraslip.json"]
    assert (out / "keraslip.json").read_text() == "the old one"
    left = [path for path in out.parent.iterdir() if path != out]
    if number == signal.SIGINT:
        assert left == []
        return
    # A killed process cannot clean up: its folder has a name that nobody takes for a model.
    assert [path.name.startswith(".keraslip-export-") for path in left] == [True]
    pretend(monkeypatch)
    linear().export(out.with_name("other"))
    assert str(left[0]) in capsys.readouterr().out
