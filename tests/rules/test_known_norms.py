"""Answers that are known: norms of whole networks of linear layers, and of max pooling."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keraslip.certify.bound.network import Network
from tests.cases import FLAT, IMAGE, batch_norm
from tests.harness import numpy, randomise

pytestmark = pytest.mark.any_backend("float64 NumPy from weights")


def built(build, shape):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers.Flatten()(build(inputs)))
    randomise(model)
    return model


def proved(model):
    """The sum of the norms from every ball to the logits."""
    return sum(operator.norm for operator in Network(model).logits.terms.values())


def twice(layer):
    return lambda x: layer(layer(x))


KNOWN = {
    "x + x": (FLAT, lambda x: x + x, 2.0),
    "x - x": (FLAT, lambda x: x - x, 0.0),
    "x beside x": (FLAT, lambda x: ops.concatenate([x, x], axis=1), 2.0**0.5),
    "x beside 2 x beside 2 x": (IMAGE, lambda x: layers.Concatenate()([x, 2.0 * x, 2.0 * x]), 3.0),
    "scaled by -3": (FLAT, lambda x: -3.0 * x, 3.0),
    "a dead branch": (FLAT, lambda x: x + 0.0 * layers.Dense(6)(x), 1.0),
    "zeros": (FLAT, lambda x: 0.0 * layers.Dense(5)(x), 0.0),
    "upsampling": (IMAGE, layers.UpSampling2D((2, 3)), 6.0**0.5),
}
WRITTEN = {
    "strides on odd sizes": ((7, 5, 2), layers.Conv2D(3, 3, strides=2, padding="same")),
    "a shared layer": (FLAT, lambda x: twice(layers.Dense(6))(x)),
    "a sum of shared layers": (FLAT, lambda x: (lambda d: d(x) + d(2.0 * x))(layers.Dense(4))),
    "batch normalization": (IMAGE, lambda x: batch_norm()(layers.Conv2D(3, 2)(x))),
    "normalised in front": (IMAGE, lambda x: layers.Conv2D(3, 2)(batch_norm()(x))),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_answers(name):
    shape, build, norm = KNOWN[name]
    assert proved(built(build, shape)) == pytest.approx(norm, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", WRITTEN)
def test_norms_are_those_of_the_matrix(name):
    shape, build = WRITTEN[name]
    model, size = built(build, shape), int(np.prod(shape))
    images = numpy(model(ops.convert_to_tensor(np.eye(size).reshape(size, *shape), "float32")))
    matrix = images - numpy(model(ops.zeros((1, *shape))))
    exact = np.linalg.svd(matrix.astype("float64"), compute_uv=False)[0]
    assert exact * (1 - 1e-5) <= proved(model) <= exact * 1.01


@pytest.mark.parametrize(
    ("layer", "shape", "windows"),
    [
        (layers.MaxPooling2D(2), (4, 6, 2), 1),
        (layers.MaxPooling2D(2, padding="same"), (5, 7, 2), 1),
        (layers.MaxPooling2D(3, strides=2), (7, 9, 2), 4),
        (layers.MaxPooling1D(3, strides=2), (7, 2), 2),
        (layers.MaxPooling1D(3, strides=2), (4, 2), 1),
        (layers.MaxPooling1D(5, strides=1, padding="same"), (3, 2), 3),
        (layers.GlobalMaxPooling2D(), IMAGE, 1),
    ],
)
def test_max_pooling_by_how_many_windows_an_entry_is_in(layer, shape, windows):
    model = built(layer, shape)
    (node,) = Network(model).activations.values()
    norms = [operator.norm for operator in node.sources[0].terms.values()]
    assert norms == pytest.approx([windows**0.5], rel=1e-9)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda x: batch_norm()(layers.Conv1D(4, 3)(x)), (6, 2)),
        (
            lambda x: layers.Conv1D(4, 3, data_format="channels_first")(batch_norm(axis=1)(x)),
            (2, 6),
        ),
        (lambda x: batch_norm(axis=1)(layers.Permute((3, 1, 2))(layers.Conv2D(3, 2)(x))), IMAGE),
    ],
)
def test_a_scale_reaches_the_kernel_past_what_moves_entries(build, shape):
    """Then rows are those of the kernel, where a chain would have products of norms."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers.Flatten()(layers.ReLU()(build(inputs))))
    randomise(model)
    (node,) = Network(model).activations.values()
    (operator,) = node.sources[0].terms.values()
    size = int(np.prod(shape))
    rows = np.linalg.norm(
        operator.forward(np.eye(size).reshape(size, *shape)).reshape(size, -1), axis=0
    )
    claimed = np.broadcast_to(operator.row_norms(), (1, *operator.out_shape)).reshape(-1)
    assert (rows <= claimed * (1 + 1e-12)).all() and claimed.max() <= rows.max() * (1 + 1e-6)
