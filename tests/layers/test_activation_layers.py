"""ClippedReLU, MaxMin and ClippedMaxMin: values, thresholds, errors, saving."""

import keras
import numpy as np
import pytest
from keras import ops

from keraslip.layers import ClippedMaxMin, ClippedReLU, GroupSort, MaxMin
from tests.harness import numpy, tensor


def image(channels=4, seed=0):
    return np.random.default_rng(seed).normal(size=(2, 5, 3, channels)).astype("float32")


def made():
    return [
        ClippedReLU(0.7, name="a"),
        MaxMin(name="b"),
        MaxMin(data_format="channels_first"),
        ClippedMaxMin(0.3, -0.4),
        ClippedMaxMin(1, 0, data_format="channels_first", dtype="float32"),
        ClippedMaxMin(axis=3),
        GroupSort(4, name="c"),
    ]


@pytest.mark.parametrize("index", range(7))
def test_round_trip(index):
    layer = made()[index]
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    saved = keras.saving.serialize_keras_object(layer)
    assert saved["registered_name"] == f"keraslip>{type(layer).__name__}"
    loaded = keras.saving.deserialize_keras_object(saved)
    x = tensor(np.moveaxis(image(), -1, 1) if "first" in str(saved) else image())
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(layer(x)))
    assert layer.compute_output_shape((None, 4, 4, 4)) == (None, 4, 4, 4)


def test_clipped_relu_values_and_threshold():
    layer = ClippedReLU(threshold=0.5)
    x = image()
    np.testing.assert_array_equal(numpy(layer(tensor(x))), np.clip(x, 0, 0.5))
    assert tuple(layer.theta.shape) == (1, 5, 3, 4)
    theta = np.random.default_rng(1).uniform(0, 1, size=(1, 5, 3, 4)).astype("float32")
    layer.theta.assign(theta)
    np.testing.assert_array_equal(numpy(layer(tensor(x))), np.minimum(np.maximum(x, 0), theta))


def test_threshold_stays_non_negative_while_training():
    model = keras.Sequential([keras.Input((3,)), ClippedReLU(0.1)])
    model.compile(keras.optimizers.SGD(10.0), loss=lambda y, z: ops.mean(z), jit_compile=False)
    model.fit(np.full((4, 3), 5.0), np.zeros((4, 3)), epochs=2, verbose=0)
    np.testing.assert_array_equal(numpy(model.layers[0].theta), np.zeros((1, 3)))


@pytest.mark.parametrize(("group", "axis"), [(2, -1), (3, -2), (4, 3), (5, 1)])
def test_group_sort_values(group, axis):
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 12)).astype("float32")
    last = np.moveaxis(x, axis, -1)
    groups = np.sort(last.reshape(*last.shape[:-1], -1, group), axis=-1).reshape(last.shape)
    found = GroupSort(group, axis=axis)(tensor(x))
    np.testing.assert_array_equal(numpy(found), np.moveaxis(groups, -1, axis))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GroupSort(1), "group_size must be an integer >= 2"),
        (lambda: GroupSort(3)(np.ones((2, 4))), "multiple of group_size=3"),
        (lambda: GroupSort(2, axis=0)(np.ones((2, 4))), "not that of the batch"),
        (lambda: MaxMin(axis=2)(np.ones((2, 4))), "axis must be an axis of the input"),
        (lambda: MaxMin(axis=1)(np.ones((2, 3, 4))), "must be even"),
    ],
)
def test_what_cannot_be_grouped(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_maxmin_values():
    x = image()
    p, q = x[..., :2], x[..., 2:]
    expected = np.concatenate([np.maximum(p, q), np.minimum(p, q)], axis=-1)
    np.testing.assert_array_equal(numpy(MaxMin()(tensor(x))), expected)
    flat = MaxMin()(tensor([[1.0, 5.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(numpy(flat), [[2.0, 5.0, 1.0, 3.0]])
    assert np.linalg.norm(expected) == pytest.approx(np.linalg.norm(x))  # it only sorts


def test_clipped_maxmin_values_and_thresholds():
    layer = ClippedMaxMin(upper=0.4, lower=-0.3)
    x = image()
    p, q = x[..., :2], x[..., 2:]
    expected = np.concatenate(
        [np.minimum(np.maximum(p, q), 0.4), np.maximum(np.minimum(p, q), -0.3)], axis=-1
    )
    np.testing.assert_allclose(numpy(layer(tensor(x))), expected, rtol=1e-6)
    assert tuple(layer.upper_threshold.shape) == (1, 5, 3, 2)
    assert tuple(layer.lower_threshold.shape) == (1, 5, 3, 2)
    assert len(layer.trainable_weights) == 2


@pytest.mark.parametrize("kind", [MaxMin, ClippedMaxMin])
def test_channels_first(kind):
    x = image()
    last, first = kind(data_format="channels_last"), kind(data_format="channels_first")
    expected = numpy(last(tensor(x)))
    found = numpy(first(tensor(np.moveaxis(x, -1, 1))))
    np.testing.assert_array_equal(np.moveaxis(found, 1, -1), expected)
    flat = first.__class__(data_format="channels_first")(tensor(x[:, 0, 0]))
    assert tuple(flat.shape) == (2, 4)
    keras.config.set_image_data_format("channels_first")
    assert kind().data_format == "channels_first"


@pytest.mark.parametrize("kind", [MaxMin, ClippedMaxMin])
def test_odd_channels(kind):
    with pytest.raises(ValueError, match="even.*Received: "):
        kind()(keras.Input((5, 5, 3)))
    with pytest.raises(ValueError, match="even.*Received: "):
        kind(data_format="channels_first")(keras.Input((3, 5, 4)))
    with pytest.raises(ValueError, match="Received: data_format"):
        kind(data_format="last")


@pytest.mark.parametrize("kind", [ClippedReLU, ClippedMaxMin])
def test_unknown_sizes(kind):
    with pytest.raises(ValueError, match="must be known.*Received: "):
        kind()(keras.Input((None, 5, 4)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "1", None, True, [1.0]])
def test_thresholds_that_are_no_number(bad):
    with pytest.raises(ValueError, match="threshold must be a finite number. Received: threshold="):
        ClippedReLU(bad)
    with pytest.raises(ValueError, match="upper must be a finite number. Received: upper="):
        ClippedMaxMin(upper=bad)
    with pytest.raises(ValueError, match="lower must be a finite number. Received: lower="):
        ClippedMaxMin(lower=bad)


def test_negative_threshold():
    with pytest.raises(ValueError, match=">= 0. Received: threshold=-1"):
        ClippedReLU(-1)
    assert ClippedReLU(0).get_config()["threshold"] == 0.0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes(dtype, backend):
    kinds = ["float16", "float32", "float64"]
    if backend == "jax":  # knows no float64 unless told so
        kinds.remove("float64")
        dtype = dtype.replace("64", "32")
    # Keras' maximum of float64 is float32 on PyTorch, in its own layers too.
    expected = {dtype, "float32"} if backend == "torch" else {dtype}
    for layer in (ClippedReLU(dtype=dtype), MaxMin(dtype=dtype), ClippedMaxMin(dtype=dtype)):
        for kind in kinds:
            out = layer(tensor(image(), kind))
            assert keras.backend.standardize_dtype(out.dtype) in expected
