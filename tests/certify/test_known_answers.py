"""Lipschitz constants in closed form that products of norms, or careless rules, get wrong."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip

pytestmark = pytest.mark.any_backend("proofs are NumPy's; tests/rules/test_cases.py is on each")
HARD = 3.0 * np.random.default_rng(3).normal(size=(3, 3))


def dense(kernel):
    kernel = np.asarray(kernel, "float32")
    layer = layers.Dense(kernel.shape[1], use_bias=False)
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel])
    return layer


def normalized(gamma):
    layer = layers.BatchNormalization(epsilon=1e-3)
    layer.build((None, 3))
    layer.set_weights([np.full(3, gamma), np.ones(3), np.full(3, 0.5), np.full(3, 1.0 - 1e-3)])
    return layer


def twice(layer):
    return lambda x: layer(layer(x))


#: From a tensor of three features on, and the constant of the map in L2.
POINTS = {
    "x + x": (lambda x: layers.Add()([x, x]), 2.0),
    "x - x": (lambda x: layers.Subtract()([x, x]), 0.0),
    "two copies": (lambda x: layers.Concatenate()([x, x]), np.sqrt(2.0)),
    "three copies, one by three": (
        lambda x: layers.Concatenate()([x, x, dense(3.0 * np.eye(3))(x)]),
        np.sqrt(11.0),
    ),
    "gamma 10": (lambda x: normalized(10.0)(layers.ReLU()(x)), 10.0),
    "gamma -10": (lambda x: normalized(-10.0)(layers.ReLU()(x)), 10.0),
    "gamma -10, folded": (lambda x: normalized(-10.0)(dense(np.eye(3))(x)), 10.0),
    "x * -3": (lambda x: x * -3.0, 3.0),
    "1 - x / 4": (lambda x: 1.0 - x / 4.0, 0.25),
    "a layer used twice": (twice(dense(HARD)), np.linalg.norm(HARD @ HARD, 2)),
    "a dead branch": (lambda x: layers.Add()([x, dense(np.zeros((3, 3)))(x)]), 1.0),
    "a branch that dies in its ReLU": (
        lambda x: layers.Add()([x, layers.ReLU(max_value=0.0)(dense(HARD)(x))]),
        1.0,
    ),
    "zeros": (dense(np.zeros((3, 4))), 0.0),
    "leaky 2": (layers.LeakyReLU(negative_slope=2.0), 2.0),
    "gelu": (layers.Activation("gelu"), 1.128904),
    "sigmoid": (layers.Activation("sigmoid"), 0.25),
    "a sum of signs": (lambda x: ops.negative(x) + dense(2.0 * np.eye(3))(x), 1.0),
}
#: From a tensor of this shape on. A pixel is in at most 2 x 2 windows of 3 with stride 2.
WINDOWS = {
    "largest of 3, stride 2": ((7, 7, 1), layers.MaxPooling2D(3, strides=2), 2.0),
    "largest of 3 in a row": ((7, 2), layers.MaxPooling1D(3, strides=2), np.sqrt(2.0)),
    "largest of 2, no overlap": ((6, 6, 1), layers.MaxPooling2D(2), 1.0),
    "mean of 2 x 2": ((6, 6, 1), layers.AveragePooling2D(2), 0.5),
    "upsampled": ((3, 3, 1), layers.UpSampling2D(2), 2.0),
}


def constant(shape, build):
    """The proved constant on a ball that nothing is constant in."""
    inputs = keras.Input(shape)
    x = build(inputs)
    x = x if len(x.shape) == 2 else layers.Flatten()(x)
    model = keraslip.from_keras(keras.Model(inputs, dense(np.eye(x.shape[1]))(x)))
    points = np.zeros((1, *shape), "float32")
    return float(model.local_lipschitz(points, epsilon=50.0)[0])


def check(found, exact):
    assert exact * (1.0 - 1e-6) <= found <= 1.001 * exact + 1e-6


@pytest.mark.parametrize("case", POINTS)
def test_points(case):
    build, exact = POINTS[case]
    check(constant((3,), build), exact)


@pytest.mark.parametrize("case", WINDOWS)
def test_windows(case):
    shape, layer, exact = WINDOWS[case]
    check(constant(shape, layer), exact)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("shape", "strides"), [((5, 7), 2), ((7, 5), 3), ((4, 5), (2, 3))])
def test_strided_convolutions_on_odd_sizes(shape, strides, padding):
    layer = layers.Conv2D(2, 3, strides=strides, padding=padding, use_bias=False)
    size = int(np.prod(shape))
    layer.build((None, *shape, 1))
    layer.set_weights([np.random.default_rng(1).normal(size=(3, 3, 1, 2))])
    units = np.eye(size, dtype="float32").reshape(size, *shape, 1)
    written = ops.convert_to_numpy(layer(units)).reshape(size, -1)
    found = constant((*shape, 1), layer)
    exact = np.linalg.norm(written, 2)
    assert exact * (1.0 - 1e-6) <= found <= 1.1 * exact
