"""A plain Keras model on the command line: converted, certified and attacked as it is."""

import json
import sys

import keras
import numpy as np
import pytest
from keras import layers

import keraslip
import keraslip.cli

pytestmark = pytest.mark.any_backend("commands around from_keras, which is tested on each")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A file with a small classifier of digits, softmax and normalisation included."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    data = keraslip.datasets.load("digits")
    model.fit(data.x_train, data.y_train, epochs=3, verbose=0)
    file = tmp_path_factory.mktemp("plain") / "mine.keras"
    model.save(file)
    return file


@pytest.fixture(scope="module")
def attention(tmp_path_factory):
    """A file with a network that no bound can pass."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Reshape((8, 8))(inputs)
    x = layers.Flatten()(layers.MultiHeadAttention(1, 2)(x, x))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    file = tmp_path_factory.mktemp("attention") / "attention.keras"
    model.save(file)
    return file


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["keraslip", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        keraslip.cli.main()
    return stopped.value.code


def test_convert_takes_units_of_the_features(plain, tmp_path, monkeypatch, capsys):
    new = tmp_path / "units.keras"
    assert run(monkeypatch, "convert", plain, new, "--feature-scales", "2,x") != 0
    assert "numbers with commas" in " ".join(capsys.readouterr().err.split())
    assert run(monkeypatch, "convert", plain, new, "--feature-scales", "2.5") == 0
    x = np.random.default_rng(0).uniform(size=(5, 8, 8, 1)).astype("float32")
    before = keras.saving.load_model(plain).predict(x, verbose=0)
    after = keras.ops.softmax(keras.saving.load_model(new).predict(x / 2.5, verbose=0))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(after), before, atol=2e-6)


def test_convert_writes_a_model_that_answers_the_same(plain, tmp_path, monkeypatch, capsys):
    new = tmp_path / "new" / "bounded.keras"
    assert run(monkeypatch, "convert", plain, new) == 0
    assert "keraslip certify" in capsys.readouterr().out
    before, after = keras.models.load_model(plain), keras.models.load_model(new)
    assert isinstance(after, keraslip.LocalLipschitzModel)
    x = keraslip.datasets.load("digits").x_test[:50]
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(after.predict(x, verbose=0)))
    np.testing.assert_allclose(probabilities, before.predict(x, verbose=0), atol=1e-5)
    assert run(monkeypatch, "convert", plain, new) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(monkeypatch, "convert", plain, new, "--overwrite", "--calibrate", "digits") == 0
    clips = [w for w in keras.models.load_model(new).layers if "ReLU" in type(w).__name__]
    assert [type(layer) for layer in clips] == [keraslip.layers.ClippedReLU]


def test_a_plain_model_is_certified_and_attacked_as_it_is(plain, tmp_path, monkeypatch, capsys):
    found = tmp_path / "found.npz"
    asked = ["--dataset", "digits", "--epsilon", 0.02, "--limit", 20]
    assert run(monkeypatch, "certify", plain, *asked, "--out", found) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "converted" in said and "Certificates are about that network: run it in place" in said
    assert keraslip.Certificates.load(found).certified.any()
    assert json.loads(found.with_suffix(".json").read_text())["converted"] is True
    assert run(monkeypatch, "certify", plain, "--dataset", "digits") == 2
    assert "--epsilon" in capsys.readouterr().err
    result = tmp_path / "attack.json"
    assert run(monkeypatch, "attack", plain, *asked, "--steps", 3, "--out", result) == 0
    assert json.loads(result.read_text())["clean_accuracy"] > 0.2


def test_what_cannot_be_certified_can_be_attacked(attention, tmp_path, monkeypatch, capsys):
    asked = ["--dataset", "digits", "--epsilon", 0.02, "--limit", 5]
    assert run(monkeypatch, "certify", attention, *asked) == 2
    said = capsys.readouterr().err
    assert "MultiHeadAttention" in said and "cannot be certified" in said
    assert run(monkeypatch, "convert", attention, tmp_path / "no.keras") == 2
    assert not list(tmp_path.iterdir())
    assert run(monkeypatch, "attack", attention, *asked, "--steps", 2) == 0
