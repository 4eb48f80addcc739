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
    "a split": (lambda x, y: keras.ops.concatenate(keras.ops.split(x, 2, 1)), "take .* slices"),
    "a batch of one": (lambda x, y: keras.ops.squeeze(x[:, None]), "name its axis"),
    "a power": (lambda x, y: x**2, "slope grows"),
    "a condition": (lambda x, y: keras.ops.where(x > 0, x, y), "ops.maximum"),
    "a matrix": (lambda x, y: x @ keras.ops.ones((4, 4)), "use Dense"),
    "a cast that rounds": (
        lambda x, y: keras.ops.cast(keras.ops.cast(x, "float16"), "float32"),
        "cast to float32",
    ),
    "clips of a vector": (lambda x, y: keras.ops.maximum(x, keras.ops.arange(4.0)), "for numbers"),
    "an exponential": (
        lambda x, y: keras.ops.celu(x, alpha=-1.0),
        "unless its alpha is above 0.*Received: alpha=-1.0",
    ),
    "a division by zero": (lambda x, y: keras.ops.celu(x, alpha=0.0), "alpha is above 0"),
    "a jump": (lambda x, y: keras.ops.soft_shrink(x, -0.5), "threshold is above 0"),
    "a threshold of zero": (lambda x, y: keras.ops.soft_shrink(x, 0.0), "threshold is above 0"),
    "tiles of samples": (lambda x, y: keras.ops.tile(x, (2, 1)), "mixes the samples"),
    "samples rolled": (lambda x, y: keras.ops.roll(x, 1, 0), "mixes the samples"),
    "the largest sample": (
        lambda x, y: x - keras.ops.max(x, 0, keepdims=True),
        "mixes the samples",
    ),
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


ALONE = {
    "attention": ((5, 4), lambda x: keras.layers.MultiHeadAttention(2, 2)(x, x), "EinsumDense"),
    "normalization of layers": ((4,), keras.layers.LayerNormalization(), "use BatchNormalization"),
    "normalization of groups": (
        (4, 4, 2),
        keras.layers.GroupNormalization(2),
        "fixed at inference",
    ),
    "product": (
        (4,),
        lambda x: keras.layers.Multiply()([x, x]),
        "Multiply by a constant|multiply by",
    ),
    "lambda": ((4,), keras.layers.Lambda(lambda x: x), "write it with keras.ops"),
    "embedding": ((4,), keras.layers.Embedding(3, 2), "certify from the vectors on"),
    "volume": ((3, 4, 4, 1), keras.layers.Conv3D(2, 2), "use a layer of images"),
    "mixed samples": ((8, 8, 3), keras.layers.MixUp(), "do it to the data"),
    "recurrent": ((4, 2), keras.layers.LSTM(3), "padding='causal'"),
    "mixes samples": ((4,), lambda x: keras.ops.flip(x, 0), "mixes the samples"),
    "sum over samples": (
        (4,),
        lambda x: x - keras.ops.mean(x, 0, keepdims=True),
        "mixes the samples",
    ),
    "einsum": (
        (5, 4),
        keras.layers.EinsumDense("abc,bcd->abd", (5, 3)),
        "no dense layer",
    ),
}


@pytest.mark.parametrize("case", ALONE)
def test_layers_without_a_rule_say_what_to_use_instead(case):
    shape, build, match = ALONE[case]
    inputs = keras.Input(shape)
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(build(inputs)))
    with pytest.raises(keraslip.rules.UnsupportedLayerError, match=match):
        keraslip.LocalLipschitzModel(inputs, outputs).compile("adam", epsilon=0.1)
