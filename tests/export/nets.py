"""Small networks to export."""

import importlib.util

import keras
import numpy as np
import pytest

import keraslip

EPSILON = 0.05
SEED = 4
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="export writes with TensorFlow"
)
#: The graph is TensorFlow's on every backend; what is about the graph alone is tested on one.
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the same graph on every backend"
)
ACTIVATIONS = {
    "clipped_maxmin": lambda: keraslip.layers.ClippedMaxMin(0.5, -0.5),
    "clipped_relu": lambda: keraslip.layers.ClippedReLU(0.6),
    "relu": keras.layers.ReLU,
}


def build(activation, groups=2):
    """A small network with all kinds of steps: scaling, a branch, pooling, padding, groups.

    That of `"relu"` is dense, since tracing a graph of convolutions takes seconds.
    """
    layer = ACTIVATIONS[activation]
    inputs = keras.Input((6, 7, 2))
    if activation == "relu":
        x = keraslip.layers.MaskedLipschitzDense(5)(keras.layers.Flatten()(inputs))
        return seeded(compiled(inputs, keraslip.layers.MaskedLipschitzDense(3)(layer()(x))))
    x = keras.layers.Rescaling(2.0, offset=-1.0)(inputs)
    x = keraslip.layers.MaskedLipschitzConv2D(4, 3, strides=2, padding="same", groups=groups)(x)
    x = layer()(x)
    x = keras.layers.Add()([x, keraslip.layers.MaskedLipschitzConv2D(4, 3, padding="same")(x)])
    x = layer()(x)
    x = keras.layers.AveragePooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    outputs = keraslip.layers.MaskedLipschitzDense(3)(x)
    return seeded(compiled(inputs, outputs))


def seeded(model, seed=SEED):
    """The model with the same kernels on every backend."""
    generator = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if weight.path.endswith("kernel"):
            size = np.prod(weight.shape[:-1]) ** -0.5
            weight.assign(size * generator.normal(size=weight.shape))
    return model


def linear():
    """The model of docs/export.md: 2 x 2 pixels; class c answers with twice pixel c."""
    inputs = keras.Input((2, 2, 1))
    last = keraslip.layers.MaskedLipschitzDense(3)
    model = compiled(inputs, last(keras.layers.Flatten()(inputs)))
    last.kernel.assign(2.0 * np.eye(4, 3))
    return model


def compiled(inputs, outputs):
    """A model with the radius of these tests."""
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    model.compile("sgd", epsilon=EPSILON)
    return model


def images():
    """Twelve inputs of `build`'s networks, and a radius for each."""
    generator = np.random.default_rng(3)
    x = generator.uniform(size=(12, 6, 7, 2)).astype("float32")
    return x, generator.uniform(0, 0.3, size=12).astype("float32")


def assert_agree(found, known):
    """Answers are those of `certify(effort="frozen")`."""
    np.testing.assert_array_equal(found["label"], known.label)
    np.testing.assert_array_equal(found["certified"], known.certified)
    for name in ("margin", "lipschitz"):
        expected = getattr(known, name)
        apart = np.abs(np.array(found[name]) - expected)
        assert (apart <= 1e-5 * np.maximum(1.0, np.abs(expected))).all()
