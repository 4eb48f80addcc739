"""Thresholds and weights given to the prebuilt networks."""

import keras
import numpy as np
import pytest

import keraslip
from keraslip import applications


def starts(model, kind, *attributes):
    """The initial thresholds, one row for each activation layer of type `kind`."""
    rows = []
    for layer in model.layers:
        if isinstance(layer, kind):
            weights = [keras.ops.convert_to_numpy(w) for w in layer.weights]
            assert len(weights) == len(attributes)
            assert all(np.ptp(w) == 0 for w in weights)
            rows.append([round(float(w.flat[0]), 4) for w in weights])
    return rows


def relu_starts(model):
    return [row[0] for row in starts(model, keraslip.layers.ClippedReLU, "threshold")]


def maxmin_starts(model):
    return starts(model, keraslip.layers.ClippedMaxMin, "upper", "lower")


def test_default_thresholds_of_clipped_maxmin(zero_kernels):
    upper = [0.1, 0.1, 0.15, 0.15, 0.2, 0.3, 1.2]
    lower = [-0.1, -0.15, -0.15, -0.15, -0.2, -0.3, -1.2]
    found = maxmin_starts(applications.CIFAR6C2F("clipped_maxmin"))
    assert found == [list(pair) for pair in zip(upper, lower, strict=True)]
    found = maxmin_starts(applications.TinyImageNet8C2F("clipped_maxmin"))
    tiny = [0.8, 1.0, 1.4, 1.4, 1.4, 1.6, 2.0, 3.0, 1.6]
    assert found == [[value, -value] for value in tiny]
    assert maxmin_starts(applications.Digits2C2F("clipped_maxmin")) == [[1.0, -1.0]] * 3


def test_numbers_and_sequences(zero_kernels):
    assert relu_starts(applications.Digits2C2F(threshold=np.float32(0.5))) == [0.5] * 3
    assert relu_starts(applications.Digits2C2F(threshold=[0.5, 1, 2.0])) == [0.5, 1.0, 2.0]
    assert relu_starts(applications.Digits2C2F(threshold=np.array([1.0, 2.0, 3.0]))) == [1, 2, 3]
    model = applications.Digits2C2F(
        activation="clipped_maxmin", upper_threshold=(1, 2, 3), lower_threshold=-0.25
    )
    assert maxmin_starts(model) == [[1.0, -0.25], [2.0, -0.25], [3.0, -0.25]]


def test_a_wrong_number_of_thresholds_names_the_right_one():
    with pytest.raises(ValueError, match=r"a number or 3 numbers.* Received: threshold=\[1, 2\]"):
        applications.Digits2C2F(threshold=[1, 2])
    with pytest.raises(ValueError, match="7 numbers.* Received: lower_threshold"):
        applications.CIFAR6C2F("clipped_maxmin", lower_threshold=[-1.0] * 6)


@pytest.mark.parametrize(
    "activation, argument",
    [
        ("clipped_relu", "upper_threshold"),
        ("clipped_maxmin", "threshold"),
        ("maxmin", "upper_threshold"),
        ("relu", "threshold"),
    ],
)
def test_a_threshold_that_would_do_nothing_is_refused(activation, argument):
    with pytest.raises(ValueError, match=f"`{argument}` has no effect.* Received: {argument}=1.0"):
        applications.Digits2C2F(activation, **{argument: 1.0})


def test_unknown_activation_lists_the_choices():
    message = "clipped_relu, maxmin, clipped_maxmin, relu. Received: activation='gelu'"
    with pytest.raises(ValueError, match=message):
        applications.Digits2C2F("gelu")


def test_weights_from_a_file(tmp_path):
    model = applications.Digits2C2F()
    model.save_weights(tmp_path / "digits.weights.h5")
    model.save(tmp_path / "digits.keras")
    keras.utils.set_random_seed(7)
    for weights in (tmp_path / "digits.weights.h5", str(tmp_path / "digits.keras")):
        loaded = applications.Digits2C2F(weights=weights)
        for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_weights_that_do_not_exist(tmp_path):
    with pytest.raises(ValueError, match="No such weights come with.* pass the path"):
        applications.MNIST4C3F(weights="imagenet")
    with pytest.raises(ValueError, match="no such weights file. Received: weights=.*gone.keras"):
        applications.MNIST4C3F(weights=tmp_path / "gone.keras")
