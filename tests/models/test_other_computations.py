"""Layers that compute something else than their kernel says: dropout at inference, LoRA, few bits."""

import io

import keras
import numpy as np
import pytest
from rich.console import Console

import keraslip
from keraslip.rules import UnsupportedLayerError

X, Y = np.ones((4, 4, 4, 1), "float32"), np.zeros(4, "int64")


def built(middle, layer=None):
    """A model around a convolution, which may be given, and what stands in the middle."""
    start = keras.Input(X.shape[1:])
    x = middle((layer or keras.layers.Conv2D(2, 3, name="early"))(start))
    flat = keras.layers.Flatten()(x)
    return keraslip.LocalLipschitzModel(start, keras.layers.Dense(3, name="late")(flat))


def in_model(layer):
    start = keras.Input((2, 2, 2))
    return keras.Model(start, layer(start), name="inside")


CALLS = {
    "training=True": (lambda x: keras.layers.Dropout(0.5, name="drop")(x, training=True), "drop"),
    "a number": (lambda x: keras.layers.Dropout(0.5, name="drop")(x, training=np.int64(1)), "drop"),
    "of a model": (lambda x: in_model(keras.layers.Dropout(0.5))(x, training=True), "inside"),
    "inside a model": (
        lambda x: in_model(lambda y: keras.layers.Dropout(0.5, name="drop")(y, training=True))(x),
        "inside/drop",
    ),
}


def printed(model):
    text = io.StringIO()
    return keraslip.check_model(model, Console(file=text, width=300)), text.getvalue()


def assert_refused(model, message, tmp_path):
    """At every door."""
    doors = (
        lambda: model.certify(X, epsilon=0.1, verbose=False),
        lambda: model.local_lipschitz(X, 0.1),
        lambda: model.estimate(X, epsilon=0.1),
        lambda: model.explain(X, epsilon=0.1),
        lambda: model.export(tmp_path / "artefact"),
        lambda: model.compile("sgd", epsilon=0.1),
    )
    trained = (
        lambda: model.fit(X, Y, verbose=0),
        lambda: model.evaluate(X, Y, verbose=0),
        lambda: model.train_on_batch(X, Y),
        lambda: model.test_on_batch(X, Y),
    )
    for door in doors + (trained if model.compiled else ()):
        with pytest.raises(UnsupportedLayerError, match=message):
            door()
    complete, text = printed(model)
    assert not complete and "none: " in text


@pytest.mark.parametrize("name", CALLS)
def test_training_at_inference_is_refused(name, tmp_path):
    middle, path = CALLS[name]
    assert_refused(built(middle), f"at '{path}' says training=True", tmp_path)


def test_dropout_that_is_off_or_follows_the_run_is_taken():
    for given in ({}, {"training": False}, {"training": None}):
        model = built(lambda x, given=given: keras.layers.Dropout(0.5)(x, **given))
        assert printed(model)[0] and len(model.local_lipschitz(X, 0.1)) == 4


def test_lora_is_refused_when_it_is_built_or_switched_on(tmp_path):
    layer = keras.layers.Conv2D(2, 3, name="early", lora_rank=1)
    assert_refused(built(keras.layers.ReLU(), layer), "'early': it has LoRA weights", tmp_path)
    model = built(keras.layers.ReLU())
    model.compile("sgd", epsilon=0.1)
    model.certify(X, verbose=False)
    model.get_layer("late").enable_lora(1)
    assert_refused(model, "'late': it has LoRA weights", tmp_path)


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_fewer_bits_are_refused_wherever_the_layer_stands(mode, tmp_path):
    inner = keras.layers.Dense(2, name="low")
    model = built(in_model(inner))
    model.compile("sgd", epsilon=0.1)
    inner.quantize(mode)
    assert_refused(model, rf"'inside/low': it is quantized \({mode}\).*before quantize", tmp_path)
