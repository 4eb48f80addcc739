"""The prebuilt networks are those of the paper, to the last parameter."""

import inspect
import math

import keras
import numpy as np
import pytest

import keraslip
from keraslip import applications

PARAMETERS = {
    "mnist_4c3f": 1_974_762,
    "cifar_4c3f": 2_466_858,
    "cifar_6c2f": 2_250_378,
    # 64(5,2) + 4 * 64(3,1) + 128(4,4) + 4 * 4 * 128 inputs to FC256 + FC10
    "cifar_liresnet": 4_864 + 4 * 36_928 + 131_200 + 524_544 + 2_570,
    "tiny_imagenet_8c2f": 4_342_984,
    # 16(3,1) + 32(4,2) + 4 * 4 * 32 inputs to FC64 + FC10
    "digits_2c2f": 160 + 8_224 + 32_832 + 650,
}
SIZES = {
    "mnist_4c3f": [28, 14, 14, 7],
    "cifar_4c3f": [32, 16, 16, 8],
    "cifar_6c2f": [32, 32, 16, 16, 16, 8],
    "cifar_liresnet": [16] * 5 + [4],
    "tiny_imagenet_8c2f": [64, 64, 31, 31, 31, 14, 14, 6],
    "digits_2c2f": [8, 4],
}
THRESHOLDS = {
    "mnist_4c3f": [1.0] * 6,
    "cifar_4c3f": [1.0] * 6,
    "cifar_6c2f": [2.0] * 7,
    "cifar_liresnet": [1.0] * 7,
    "tiny_imagenet_8c2f": [1.0] * 9,
    "digits_2c2f": [1.0] * 3,
}
LINEAR = (keraslip.layers.MaskedLipschitzConv2D, keraslip.layers.MaskedLipschitzDense)
ACTIVATIONS = {
    "clipped_relu": keraslip.layers.ClippedReLU,
    "maxmin": keraslip.layers.MaxMin,
    "clipped_maxmin": keraslip.layers.ClippedMaxMin,
    "relu": keras.layers.ReLU,
}


def of_type(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def kernels_and_biases(model):
    return sum(math.prod(w.shape) for layer in of_type(model, LINEAR) for w in layer.weights[:2])


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_feature_maps_and_thresholds_are_those_of_the_paper(name, zero_kernels):
    model = applications.get(name)(activation="clipped_relu")
    assert kernels_and_biases(model) == PARAMETERS[name]
    convs = of_type(model, keraslip.layers.MaskedLipschitzConv2D)
    assert [conv.output.shape[1] for conv in convs] == SIZES[name]
    assert [conv.output.shape[2] for conv in convs] == SIZES[name]
    clipped = of_type(model, keraslip.layers.ClippedReLU)
    values = [np.unique(keras.ops.convert_to_numpy(layer.weights[0])) for layer in clipped]
    assert [value.tolist() for value in values] == [[start] for start in THRESHOLDS[name]]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_hidden_layer_has_the_chosen_activation(activation, zero_kernels):
    model = applications.Digits2C2F(activation=activation)
    linear = of_type(model, LINEAR)
    assert len(of_type(model, ACTIVATIONS[activation])) == len(linear) - 1
    assert model.layers[-1] is linear[-1]


def test_signatures_and_default_names_agree_with_the_registry():
    for name in applications.names():
        builder = applications.get(name)
        parameters = inspect.signature(builder).parameters
        assert parameters["name"].default == name
        shared = list(inspect.signature(applications.MNIST4C3F).parameters)
        assert list(parameters)[: len(shared)] == shared
        assert "Args:" in builder.__doc__ and "{" not in builder.__doc__


def test_convolutions_start_from_the_variance_of_the_paper():
    model = applications.Digits2C2F(width=2.0)
    for conv in of_type(model, keraslip.layers.MaskedLipschitzConv2D):
        kernel = keras.ops.convert_to_numpy(conv.kernel)
        expected = math.sqrt(2.0 / (kernel.shape[0] ** 2 * kernel.shape[-1]))
        assert conv.kernel_initializer.stddev == pytest.approx(expected)
        assert kernel.std() == pytest.approx(expected, rel=0.2)


def test_the_global_seed_fixes_every_weight():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return applications.Digits2C2F().get_weights()

    first, again, other = weights(3), weights(3), weights(4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_prediction_and_save_and_load(tmp_path):
    model = applications.Digits2C2F(activation="clipped_maxmin")
    x = np.random.default_rng(0).random((5, 8, 8, 1), dtype="float32")
    logits = model.predict(x, verbose=0)
    assert logits.shape == (5, 10)
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), logits, rtol=1e-6, atol=1e-6)


def test_channels_first_puts_the_channels_first(zero_kernels):
    keras.config.set_image_data_format("channels_first")
    model = applications.Digits2C2F(activation="maxmin")
    assert model.input_shape == (None, 1, 8, 8)
    assert model.output_shape == (None, 10)
    assert kernels_and_biases(model) == PARAMETERS["digits_2c2f"]


def test_input_shape_and_classes(zero_kernels):
    model = applications.MNIST4C3F(input_shape=(12, 20, 3), classes=7, name="mine")
    assert (model.input_shape, model.output_shape) == ((None, 12, 20, 3), (None, 7))
    assert model.name == "mine"
    with pytest.raises(ValueError, match=r"Received: input_shape=\(28, 28\)"):
        applications.MNIST4C3F(input_shape=(28, 28))


@pytest.mark.parametrize("width, filters", [(0.7, [12, 22]), (0.01, [2, 2])])
def test_width_gives_even_channels(width, filters, zero_kernels):
    model = applications.Digits2C2F(width=width)
    convs = of_type(model, keraslip.layers.MaskedLipschitzConv2D)
    assert [conv.filters for conv in convs] == filters
    assert model.output_shape == (None, 10)


def test_a_residual_block_is_one_map_near_the_identity():
    model = applications.CIFARLiResNet(depth=1, width=0.1, input_shape=(8, 8, 3), classes=3)
    model.compile("sgd", epsilon=0.1)
    x = np.random.default_rng(0).random((4, 8, 8, 3), dtype="float32")
    norms = {row.layer: row.global_norm for row in model.explain(x)}
    # As two branches the block would have the sum of their norms.
    assert 0.9 < norms["activation_2"] < 1.5
    assert len(applications.CIFARLiResNet(depth=3, width=0.1).layers) > len(model.layers)
    with pytest.raises(ValueError, match="`depth` must be an integer >= 1. Received: depth=0"):
        applications.CIFARLiResNet(depth=0)


@pytest.mark.parametrize("width", [0, -1.0, float("nan"), float("inf")])
def test_impossible_width(width):
    with pytest.raises(ValueError, match="`width` must be a positive number. Received"):
        applications.Digits2C2F(width=width)


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="digits_2c2f, mnist_4c3f.* Received: name='resnet'"):
        applications.get("resnet")
