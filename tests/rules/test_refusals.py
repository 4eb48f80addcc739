"""Layers and operations that no bound can pass are refused with what to do instead."""

import keras
import pytest

import keraslip

REFUSED = {
    "product of two branches": (
        lambda x, y: x * y,
        "product of two branches.*Multiply by a constant",
    ),
    "division by a branch": (lambda x, y: 1.0 / x, "near zero. Divide by a constant"),
    "division by another": (lambda x, y: x / y, "near zero"),
    "a constant for each sample": (lambda x, y: x * keras.ops.ones((7, 4)), "sample to sample"),
    "a difference that is broadcast": (lambda x, y: x - y[:, :1], "."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_bound_says_what_to_do(case):
    build, match = REFUSED[case]
    inputs = keras.Input((4,))
    x, y = keras.layers.Dense(4)(inputs), keras.layers.Dense(4)(inputs)
    outputs = keras.layers.Dense(2)(build(x, y))
    with pytest.raises(keraslip.rules.UnsupportedLayerError, match=match):
        keraslip.LocalLipschitzModel(inputs, outputs).compile("adam", epsilon=0.1)


LAYERS = {
    "bilinear": (keras.layers.UpSampling2D(2, interpolation="bilinear"), 'interpolation="nearest"'),
    "output padding": (
        keras.layers.Conv2DTranspose(2, 3, strides=3, padding="same", output_padding=1),
        "leave output_padding out",
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_settings_without_a_rule_say_what_to_do(case):
    layer, match = LAYERS[case]
    inputs = keras.Input((4, 4, 2))
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(layer(inputs)))
    with pytest.raises(keraslip.rules.UnsupportedLayerError, match=match):
        keraslip.LocalLipschitzModel(inputs, outputs).compile("adam", epsilon=0.1)
