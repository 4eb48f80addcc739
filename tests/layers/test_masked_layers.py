"""The masked layers compute what Keras' own do, save as they do, and know their norm."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.layers import MaskedLipschitzConv2D, MaskedLipschitzDense
from tests.harness import matrix_of, numpy, tensor

CONVOLUTIONS = [
    {},
    {"strides": 2, "padding": "same"},
    {"groups": 2, "use_bias": False},
    {"dilation_rate": 2, "activation": "relu"},
    {"kernel_regularizer": "l2", "kernel_initializer": "orthogonal"},
]


def pairs():
    return [
        (MaskedLipschitzDense(5, activation="relu"), layers.Dense(5, activation="relu"), (4,)),
        (MaskedLipschitzDense(5, use_bias=False), layers.Dense(5, use_bias=False), (3, 4)),
        *[
            (MaskedLipschitzConv2D(6, (3, 2), **kw), layers.Conv2D(6, (3, 2), **kw), (9, 8, 4))
            for kw in CONVOLUTIONS
        ],
    ]


@pytest.mark.parametrize("case", range(7))
def test_equals_the_layer_of_keras(case):
    masked, plain, shape = pairs()[case]
    masked.build((None, *shape))
    plain.build((None, *shape))
    plain.set_weights(masked.get_weights())
    x = tensor(np.random.default_rng(0).normal(size=(2, *shape)))
    np.testing.assert_array_equal(numpy(masked(x)), numpy(plain(x)))
    assert masked.compute_output_shape((None, *shape)) == plain.compute_output_shape((None, *shape))
    assert [w.name for w in masked.weights] == [w.name for w in plain.weights]
    assert len(masked.losses) == len(plain.losses)
    same = {k: v for k, v in masked.get_config().items() if k != "name"}
    assert same == {k: v for k, v in plain.get_config().items() if k != "name"}


@pytest.mark.parametrize("case", range(7))
def test_configuration_round_trip(case):
    masked, _, shape = pairs()[case]
    copy = type(masked).from_config(masked.get_config())
    assert copy.get_config() == masked.get_config()
    saved = keras.saving.serialize_keras_object(masked)
    assert saved["registered_name"] == f"keraslip>{type(masked).__name__}"
    loaded = keras.saving.deserialize_keras_object(saved)
    assert type(loaded) is type(masked) and loaded.get_config() == masked.get_config()


def test_saved_model_loads(tmp_path):
    inputs = keras.Input((6, 6, 2))
    x = MaskedLipschitzConv2D(4, 3, padding="same", name="conv")(inputs)
    x = keraslip.layers.ClippedReLU(0.7)(x)
    x = MaskedLipschitzConv2D(4, 3, strides=2)(x)
    x = keraslip.layers.ClippedMaxMin(0.3, -0.2)(x)
    x = keraslip.layers.MaxMin()(x)
    x = MaskedLipschitzDense(3)(layers.Flatten()(x))
    for kind in (keras.Model, keraslip.LocalLipschitzModel):
        model = kind(inputs, x)
        for weight in model.trainable_weights:
            weight.assign(weight + 0.01)
        path = tmp_path / f"{kind.__name__}.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
        images = np.random.default_rng(0).uniform(size=(2, 6, 6, 2)).astype("float32")
        np.testing.assert_array_equal(
            loaded.predict(images, verbose=0), model.predict(images, verbose=0)
        )
        assert isinstance(loaded.get_layer("conv"), MaskedLipschitzConv2D)


def test_masked_norm_of_a_dense_layer():
    layer = MaskedLipschitzDense(5)
    layer.build((None, 6))
    kernel = numpy(layer.kernel)
    r = np.random.default_rng(0)
    columns = (r.uniform(size=(4, 6)) < 0.6).astype("float32")
    rows = (r.uniform(size=(4, 5)) < 0.6).astype("float32")
    found = numpy(layer.masked_norm((6,), tensor(columns), tensor(rows), 100))
    expected = [
        np.linalg.svd(kernel * c[:, None] * d, compute_uv=False)[0]
        for c, d in zip(columns, rows, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(
        numpy(layer.masked_norm((6,), power_iterations=100)),
        [np.linalg.svd(kernel, compute_uv=False)[0]],
        rtol=1e-3,
    )


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_masked_norm_of_a_convolution(data_format):
    shape = (5, 6, 2) if data_format == "channels_last" else (2, 5, 6)
    layer = MaskedLipschitzConv2D(3, 3, strides=2, padding="same", data_format=data_format)
    layer.build((None, *shape))
    linear_map = layer.linear_map(shape)
    assert linear_map.in_shape == shape
    assert (None, *linear_map.out_shape) == layer.compute_output_shape((None, *shape))
    matrix = matrix_of(linear_map)
    columns = (np.random.default_rng(0).uniform(size=(3, *shape)) < 0.5).astype("float32")
    found = numpy(layer.masked_norm(shape, tensor(columns), None, 150))
    expected = [np.linalg.svd(matrix * c.ravel(), compute_uv=False)[0] for c in columns]
    np.testing.assert_allclose(found, expected, rtol=5e-3)
    assert found.max() < np.linalg.svd(matrix, compute_uv=False)[0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "mixed_float16"])
def test_dtypes(dtype, backend):
    """Inputs of any float type, layers of any policy: the norm is at least float32."""
    if backend == "jax" and dtype == "float64":
        pytest.skip("JAX knows no float64 unless told so")
    kinds = ["float16", "float32"] + ["float64"] * (backend != "jax")
    dense, conv = MaskedLipschitzDense(4, dtype=dtype), MaskedLipschitzConv2D(4, 3, dtype=dtype)
    x = np.random.default_rng(0).uniform(size=(2, 5, 5, 2))
    for kind in kinds:
        assert np.isfinite(numpy(ops.cast(dense(tensor(x[:, 0, 0], kind)), "float32"))).all()
        assert np.isfinite(numpy(ops.cast(conv(tensor(x, kind)), "float32"))).all()
    for layer, shape in ((dense, (2,)), (conv, (5, 5, 2))):
        kernel = layer.linear_map(shape).kernel
        kind = keras.backend.standardize_dtype(kernel.dtype)
        assert kind == ("float64" if dtype == "float64" else "float32")
        if dtype != "float64":
            norm = layer.masked_norm(shape)
            assert np.isfinite(numpy(norm)).all() and numpy(norm).dtype == np.float32


def test_unknown_spatial_size():
    inputs = keras.Input((None, None, 1))
    x = layers.GlobalAveragePooling2D()(MaskedLipschitzConv2D(4, 3)(inputs))
    model = keraslip.LocalLipschitzModel(inputs, MaskedLipschitzDense(2)(x))
    with pytest.raises(NotImplementedError, match="keras.Input.*Received: "):
        model.compile(epsilon=0.1)
