"""The seam between Keras and the certifier: the network that is written down is the one that runs."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.certify.bound.network import Network
from keraslip.certify.execution.executed import Executed
from keraslip.certify.execution.probe import probe
from keraslip.linear import Identity
from keraslip.rules import LinearRule, MismatchError, UnsupportedLayerError
from tests.certify.nets import FLOAT32, evaluated, forward
from tests.harness import model_of, numpy, randomise

#: Height, width and channels of one length, where a constant's axis is ambiguous; a mixture; vectors.
CUBE, IMAGE, FLAT = (3, 3, 3), (4, 5, 3), (3,)
R = np.random.default_rng(4)


def numbers(*shape, dtype="float32"):
    return R.uniform(0.5, 2.0, size=shape).astype(dtype)


def flat(x):
    return layers.Flatten(data_format="channels_last")(x)


def assert_written_down(build, shape):
    """The certifier's logits, those of a training pass, and those that run, compiled or not, are the same."""
    made = model_of(lambda x: flat(build(x)), shape)
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    network = Network(made)
    exact = forward(network, x)[network.logits.index]
    made.compile(keras.optimizers.SGD(), epsilon=0.1, input_range=None)
    close = {"rtol": 1e-4, "atol": 1e-4 * np.abs(exact).max()}
    np.testing.assert_allclose(numpy(made(x, training=False)), exact, **close)
    np.testing.assert_allclose(Executed(made, 3).logits(x), exact, **close)
    np.testing.assert_allclose(made.estimate(x).logits, exact, **close)


SCALES = [(), (3,), (1, 1, 3), (3, 1, 1), (1, 3, 1), (1, 3, 3), (3, 3, 3), (1, 1, 1, 3)]


@pytest.mark.parametrize("format", ["channels_last", "channels_first"])
def test_rescaling(format):
    """A scale is put on the channels where images are channels first, an offset never is."""
    keras.config.set_image_data_format(format)

    def build(x):
        for scale in SCALES:
            x = layers.Rescaling(numbers(*scale, dtype="float64"), numbers(3))(x)
        return x

    assert_written_down(build, CUBE)


def test_rescaling_counts_the_channels_that_it_scales():
    """A Lipschitz constant of 100, where the last axis would have given 1."""
    keras.config.set_image_data_format("channels_first")
    inputs = keras.Input((3, 1, 1))
    x = flat(layers.Rescaling([1, 10, 100])(inputs))
    made = keraslip.LocalLipschitzModel(inputs, x)
    made.compile(keras.optimizers.SGD(), epsilon=0.1)
    x = np.array([0.0, 0.05, 0.01], "float32").reshape(1, 3, 1, 1)
    assert made.local_lipschitz(x)[0] == pytest.approx(100.0, rel=1e-4)
    # Logits 0, 0.5 and 1: the gap closes at a distance of 0.5 / |(10, 100)|.
    found = made.certify(x, radius=True, verbose=False)
    assert found.radius[0] == pytest.approx(0.5 / np.hypot(10, 100), rel=0.02)
    assert not found.certified[0]


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 1, 1, 3), (1, 1, 1, 1, 3)], ids=str)
def test_a_scale_that_is_not_of_one_input_is_refused(shape):
    made = model_of(lambda x: flat(layers.Rescaling(np.ones((1, 1, 3)), name="mine")(x)), IMAGE)
    made.get_layer("mine").scale = np.ones(shape)
    with pytest.raises(UnsupportedLayerError, match="its scale"):
        Network(made)


AXES = [(), (1,), (2,), (3,), (1, 3), (1, 2), (1, 2, 3)]


def test_normalization():
    def build(x):
        for axes, invert in itertools.product(AXES, (False, True)):
            size = [CUBE[axis - 1] for axis in axes]
            kwargs = {"mean": numbers(*size).tolist(), "variance": numbers(*size).tolist()}
            x = layers.Normalization(axes or None, **kwargs, invert=invert)(x)
        return x

    assert_written_down(build, CUBE)


def constants(shape):
    """Constants of every shape that broadcasts to a shape."""
    yield from ((), shape[-1:])
    yield from itertools.product(*((1, size) for size in shape))


@pytest.mark.parametrize("shape", [CUBE, (4, 4, 3), (4, 3, 3), (4, 4)], ids=str)
def test_constants_of_every_shape(shape):
    """All in one sum: where a constant lands depends on it and on the tensor alone."""

    def build(x):
        for size in constants(shape):
            x = ops.add(numbers(*size), x + numbers(*size))
        return x

    assert_written_down(build, shape)


def test_constants_of_every_type():
    kinds = [
        2,
        0.1,
        np.arange(3),
        np.arange(3.0),
        np.ones(3, "float16"),
        np.array([True, False, True]),
    ]
    kinds += [ops.arange(3), keras.Variable(np.arange(3.0))]

    def build(x):
        for constant in kinds:
            x = layers.Activation("linear")(x + constant)
        return x

    assert_written_down(build, FLAT)


@pytest.mark.parametrize("constant", [np.ones((2, 1, 1, 3)), np.ones((3, 1, 1, 3))])
def test_a_constant_for_each_sample_is_refused(constant):
    inputs = keras.Input(CUBE)
    made = keraslip.LocalLipschitzModel(inputs, flat(inputs + constant))
    with pytest.raises(UnsupportedLayerError, match="differs from sample to sample"):
        made.compile(keras.optimizers.SGD(), epsilon=0.1)


class Shifted(layers.Layer):
    """A bias after a map that only moves entries."""

    def call(self, x):
        return x + ops.convert_to_tensor([1.0, 2.0, 4.0])


@keraslip.register_rule(Shifted)
class ShiftedRule(LinearRule):
    def linear_map(self, layer, in_shape):
        return Identity(in_shape)

    def bias(self, layer):
        return ops.convert_to_tensor([1.0, 2.0, 4.0])


def test_a_bias_behind_a_map_that_moves_entries():
    assert_written_down(lambda x: Shifted()(layers.ReLU()(x)), FLAT)


@pytest.mark.parametrize("strides", [1, 2])
def test_pooling_rounds_as_often_as_it_adds(strides):
    """Also where the backend repeats pixels around an image smaller than the window."""
    inputs = keras.Input((2, 3, 2))
    pooled = layers.AveragePooling2D((12, 7), strides, "same")(inputs)
    made = keraslip.LocalLipschitzModel(inputs, flat(pooled))
    x = np.random.default_rng(1).uniform(size=(64, 2, 3, 2)).astype("float32")
    network = Network(made)
    found = evaluated(network, x, 0, 0.0, execution=FLOAT32)
    assert (np.abs(Executed(made, 64).logits(x) - found.logits) <= found.error).all()
    assert network.nodes[1].operator.terms == 84


def columns_like_channels(**kwargs):
    """A channels-first convolution with as many filters as columns."""
    inputs = keras.Input((2, 6, 5))
    x = layers.Conv2D(5, 3, padding="same", data_format="channels_first", name="conv", **kwargs)(
        inputs
    )
    return inputs, x


def plus_a_row(x):
    return ops.add(x, numbers(5))


@pytest.mark.parametrize("after", [None, plus_a_row], ids=["its bias", "a constant"])
def test_a_bias_of_columns_or_channels(after):
    """TensorFlow takes channels for columns, but not in a compiled graph: the model is two networks."""
    inputs, x = columns_like_channels(use_bias=after is None)
    x = x if after is None else after(x)
    made = keraslip.LocalLipschitzModel(inputs, layers.Dense(3)(flat(x)))
    randomise(made)
    network = Network(made)
    if keras.backend.backend() != "tensorflow":
        probe(made, network)
        return
    place = "conv" if after is None else "add"
    with pytest.raises(MismatchError, match=f"at '{place}.*' does not compute"):
        probe(made, network)
