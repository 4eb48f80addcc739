"""SavedModels answer with the model's own frozen certificates."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from rich.console import Console

import keraslip
from keraslip.cli.export import run_export
from keraslip.export import exporter

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="export writes with TensorFlow"
)
EPSILON = 0.1


def build(activation, groups=2):
    """A small network with all kinds of steps: scaling, a branch, pooling, padding, groups."""
    inputs = keras.Input((6, 7, 2))
    x = keras.layers.Rescaling(2.0, offset=-1.0)(inputs)
    x = keraslip.layers.MaskedLipschitzConv2D(4, 3, strides=2, padding="same", groups=groups)(x)
    x = activation()(x)
    x = keras.layers.Add()([x, keraslip.layers.MaskedLipschitzConv2D(4, 3, padding="same")(x)])
    x = activation()(x)
    x = keras.layers.AveragePooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    outputs = keraslip.layers.MaskedLipschitzDense(3)(x)
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    model.compile("sgd", epsilon=EPSILON)
    return model


NETS = {
    "clipped_relu": lambda: keraslip.layers.ClippedReLU(0.6),
    "clipped_maxmin": lambda: keraslip.layers.ClippedMaxMin(0.5, -0.5),
    "relu": keras.layers.ReLU,
}


@pytest.fixture(scope="module", params=NETS)
def exported(request, tmp_path_factory):
    """A model, inputs, and what the exported graph said of them in a process of its own."""
    keras.utils.set_random_seed(1)
    model = build(NETS[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    model.export(folder / "served", verbose=False)
    generator = np.random.default_rng(3)
    x = generator.uniform(size=(12, 6, 7, 2)).astype("float32")
    each = generator.uniform(0, 0.3, size=12).astype("float32")
    np.savez(folder / "questions.npz", x=x, each=each)
    script = Path(__file__).with_name("ask.py")
    asked = [sys.executable, str(script), str(folder / "served"), str(folder / "questions.npz")]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    return model, x, each, json.loads(done.stdout), folder


def assert_agree(found, known):
    np.testing.assert_array_equal(found["label"], known.label)
    np.testing.assert_array_equal(found["certified"], known.certified)
    for name in ("margin", "lipschitz"):
        expected = getattr(known, name)
        apart = np.abs(np.array(found[name]) - expected)
        assert (apart <= 1e-5 * np.maximum(1.0, np.abs(expected))).all()


@needs_tensorflow
def test_answers_are_the_models_frozen_certificates(exported):
    model, x, each, said, _ = exported
    known = model.certify(x, epsilon=EPSILON, effort="frozen", batch_size=16)
    assert 0 < known.certified.sum()
    assert_agree(said["one"], known)
    assert_agree(said["signature"], known)
    assert_agree(said["each"], model.certify(x, epsilon=each, effort="frozen", batch_size=16))
    assert said["single"]["margin"][0] == pytest.approx(said["one"]["margin"][0], rel=1e-6)
    assert said["types"] == {
        "label": "int32",
        "certified": "bool",
        "margin": "float32",
        "lipschitz": "float32",
    }


@needs_tensorflow
def test_never_certified_where_the_full_certifier_is_not(exported):
    model, x, _, said, _ = exported
    full = model.certify(x, epsilon=EPSILON, batch_size=16)
    assert (full.certified >= np.array(said["one"]["certified"])).all()


@needs_tensorflow
def test_logits_are_the_models(exported):
    model, x, _, said, _ = exported
    logits = model.predict(x, verbose=0)
    np.testing.assert_allclose(said["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(said["default"]["logits"], logits, atol=1e-5)


@needs_tensorflow
def test_bad_questions_are_not_certified(exported):
    said = exported[3]
    assert not said["nan"]["certified"][0]
    # One bad sample does not spoil the others.
    assert said["nan"]["certified"][1:] == said["one"]["certified"][1:]
    assert not any(said["negative"]["certified"])
    assert not any(said["infinite"]["certified"])
    assert said["empty"]["certified"] == []
    assert said["wrong shape"] in ("ValueError", "TypeError")


@needs_tensorflow
def test_the_artefact_says_what_it_is(exported):
    model, _, _, said, folder = exported
    for metadata in (said["metadata"], json.loads((folder / "served/keraslip.json").read_text())):
        assert metadata["guarantee"] == "proved"
        assert metadata["effort"] == "frozen"
        assert metadata["arithmetic"] == "float32"
        assert metadata["epsilon"] == pytest.approx(EPSILON)
        assert metadata["input_range"] == [0.0, 1.0]
        assert metadata["versions"]["keraslip"] == keraslip.__version__


@needs_tensorflow
def test_nothing_is_overwritten(exported):
    model, _, _, _, folder = exported
    with pytest.raises(FileExistsError, match="remove it"):
        model.export(folder / "served")


@needs_tensorflow
def test_the_command_replaces_only_when_told(tmp_path):
    model = build(NETS["relu"])
    model.save(tmp_path / "model.keras")
    out = tmp_path / "served"
    out.mkdir()
    arguments = (tmp_path / "model.keras", out, "tf_saved_model", None)
    with pytest.raises(FileExistsError):
        run_export(*arguments, False, Console())
    run_export(*arguments, True, Console())
    assert (out / "saved_model.pb").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "served"]


@needs_tensorflow
def test_an_artefact_that_answers_differently_is_not_kept(tmp_path, monkeypatch):
    model = build(NETS["clipped_relu"])
    honest = exporter._write_elsewhere
    name = "_write" if keras.backend.backend() == "tensorflow" else "_write_elsewhere"
    honest = getattr(exporter, name)

    def flattering(*args):
        found = honest(*args)
        return {**found, "certified": ~found["certified"]}

    monkeypatch.setattr(exporter, name, flattering)
    with pytest.raises(RuntimeError, match="certified"):
        model.export(tmp_path / "served", verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tensorflow_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(exporter.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"keraslip\[tensorflow\]"):
        build(NETS["relu"]).export(tmp_path / "served")
