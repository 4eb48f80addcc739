import keras
import numpy as np
import pytest
from keras import ops

from keraslip.backend import input_gradient


def weighted(logits, weights):
    return ops.sum(ops.square(logits) * weights, axis=-1)


def linear(inputs=5, classes=3):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(classes)])


def test_matches_the_closed_form():
    model, rng = linear(), np.random.default_rng(0)
    x = rng.normal(size=(4, 5)).astype("float32")
    weights = rng.normal(size=(4, 3)).astype("float32")
    kernel, bias = model.get_weights()
    logits = x @ kernel + bias
    values, gradients = input_gradient(model, weighted)(x, weights)
    assert isinstance(values, np.ndarray) and isinstance(gradients, np.ndarray)
    np.testing.assert_allclose(values, (logits**2 * weights).sum(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradients, 2 * (logits * weights) @ kernel.T, rtol=1e-4, atol=1e-5)


def test_matches_finite_differences_on_a_convolution():
    layers = keras.layers
    stack = [layers.Conv2D(3, 3, strides=2, activation="tanh"), layers.Flatten(), layers.Dense(4)]
    model = keras.Sequential([keras.Input((6, 5, 2)), *stack])
    rng = np.random.default_rng(1)
    x, along = rng.normal(size=(2, 2, 6, 5, 2)).astype("float32")
    gradient = input_gradient(model, lambda logits: logits[:, 1])
    step = np.float32(1e-2)
    change = (gradient(x + step * along)[0] - gradient(x - step * along)[0]) / (2 * step)
    slope = (gradient(x)[1] * along).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(change, slope, rtol=1e-2, atol=1e-3)


def test_new_weights_count_at_once():
    model, x = linear(), np.ones((2, 5), "float32")
    gradient = input_gradient(model, lambda logits: logits[:, 0])
    gradient(x)
    model.set_weights([2 * np.ones((5, 3)), np.ones(3)])
    values, gradients = gradient(x)
    np.testing.assert_allclose(values, 11)
    np.testing.assert_allclose(gradients, 2)


def test_runs_in_inference_mode_and_leaves_state_alone():
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((5,)), layers.Dropout(0.9), layers.BatchNormalization(), layers.Dense(2)]
    )
    before = model.get_weights()
    x = np.random.default_rng(2).normal(size=(3, 5)).astype("float32")
    values, _ = input_gradient(model, lambda logits: logits[:, 0])(x)
    np.testing.assert_allclose(values, ops.convert_to_numpy(model(x))[:, 0], rtol=1e-5)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_compiles_once_for_a_shape():
    traces = []

    def objective(logits):
        traces.append(logits.shape)
        return logits[:, 0]

    gradient = input_gradient(linear(), objective)
    for value in range(5):
        gradient(np.full((4, 5), value, "float32"))
    if keras.backend.backend() != "torch":  # PyTorch runs eagerly
        assert len(traces) == 1


def test_disconnected_input_has_zero_gradient():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: ops.sign(x) * 0.0)])
    _, gradients = input_gradient(model, lambda logits: logits[:, 0])(np.ones((2, 4), "float32"))
    np.testing.assert_array_equal(gradients, np.zeros((2, 4)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_float32_gradients(policy):
    keras.config.set_dtype_policy(policy)
    model = linear()
    gradient = input_gradient(model, lambda logits: ops.cast(logits, "float32")[:, 0])
    _, gradients = gradient(np.ones((2, 5), "float32"))
    assert gradients.dtype == np.float32
    np.testing.assert_allclose(gradients[0], model.get_weights()[0][:, 0], rtol=1e-2)
