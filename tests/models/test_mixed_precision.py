"""Mixed precision: the bound stays in float32, and what is certified is the float32 model."""

import keras
import numpy as np
import pytest

import keraslip
from tests.models.nets import UNCOMPILED, assert_same, compiled, dense_net, samples, weights_of

POLICIES = ["mixed_bfloat16", "mixed_float16"]


def trained(policy, dropout=0.0, optimizer=None, **fit):
    """A model of this policy after a short run, and its history."""
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(1)
    model = compiled(dense_net(dropout=dropout), optimizer or keras.optimizers.Adam(0.02))
    x, y = samples()
    options = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0, **fit}
    history = model.fit(x, y, **options).history
    keras.config.set_dtype_policy("float32")
    return model, history


@pytest.fixture(scope="module")
def exact():
    return trained("float32")


@pytest.mark.gap
@pytest.mark.parametrize("policy", POLICIES)
def test_it_trains_as_in_float32(policy, exact):
    model, history = trained(policy)
    assert model.get_layer("first").compute_dtype == policy.removeprefix("mixed_")
    assert all(weight.dtype == "float32" for weight in model.weights)
    assert np.isfinite(history["loss"]).all() and history["loss"][-1] < history["loss"][0]
    assert_same(weights_of(model), weights_of(exact[0]), 1e-5)
    for name, values in exact[1].items():
        np.testing.assert_allclose(history[name], values, rtol=1e-4, err_msg=name)


def test_the_copy_has_the_same_bounds_and_is_certified(tmp_path):
    model, _ = trained("mixed_bfloat16", dropout=0.3, epochs=1)
    x, y = samples()
    copy = keraslip.float32_copy(model)
    assert_same(weights_of(copy), weights_of(model))
    assert model.predict(x[:2], verbose=0).dtype != np.float32 == copy.predict(x, verbose=0).dtype
    ours, theirs = model.estimate(x, y), copy.estimate(x, y)
    for name in ("logits", "worst", "margin", "lipschitz"):
        assert getattr(ours, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(copy.evaluate(x, y, verbose=0))

    found = copy.certify(x, y, workers=1, verbose=0)
    assert found.certified.any() and copy.epsilon_value == model.epsilon_value
    copy.save(tmp_path / "copy.keras")
    again = keras.models.load_model(tmp_path / "copy.keras")
    assert (again.certify(x, y, workers=1, verbose=0).certified == found.certified).all()


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float16"])
def test_less_than_float32_is_refused_with_the_remedy(dtype):
    keras.config.set_dtype_policy(dtype)
    model = dense_net()
    keras.config.set_dtype_policy("float32")
    x, y = samples()
    for ask in (model.certify, model.local_lipschitz):
        with pytest.raises(
            ValueError, match=r"keraslip\.float32_copy\(model\).*computes in b?float"
        ):
            ask(x, epsilon=0.1)
    # A model that is not compiled has a copy too, whatever policy the program has by then.
    keras.config.set_dtype_policy(dtype)
    copy = keraslip.float32_copy(model)
    assert keras.config.dtype_policy().name == dtype
    keras.config.set_dtype_policy("float32")
    assert len(copy.certify(x, y, 0.1, workers=1, verbose=0)) == len(x)


def test_the_copy_reaches_models_inside_models_and_leaves_the_rest():
    inner = keras.Sequential(
        [keras.Input((6,)), keraslip.layers.MaskedLipschitzDense(4, dtype="mixed_float16")]
    )
    inputs = keras.Input((6,))
    x = keraslip.layers.ClippedReLU(dtype="bfloat16")(inner(inputs))
    outputs = keraslip.layers.MaskedLipschitzDense(3)(x)
    copy = keraslip.float32_copy(keraslip.LocalLipschitzModel(inputs, outputs))
    assert {layer.compute_dtype for layer in copy._flatten_layers()} == {"float32"}
    assert len(copy.certify(samples()[0], epsilon=0.1, workers=1, verbose=0)) == 24


def test_the_loss_is_scaled_and_a_step_that_overflows_is_left_out():
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.05), initial_scale=64.0, dynamic_growth_steps=2
    )
    model, _ = trained("mixed_float16", optimizer=optimizer, epochs=1)
    # Three steps: it grew after two of them.
    assert float(keras.ops.convert_to_numpy(model.optimizer.dynamic_scale)) == 128.0
    before = [np.array(keras.ops.convert_to_numpy(w)) for w in model.trainable_weights]
    x, y = samples(8)
    huge = np.full(8, 3e38, "float32")
    model.fit(x, y, batch_size=8, epochs=1, sample_weight=huge, verbose=0)
    after = [np.array(keras.ops.convert_to_numpy(w)) for w in model.trainable_weights]
    assert_same(after, before)
    assert float(keras.ops.convert_to_numpy(model.optimizer.dynamic_scale)) == 64.0


def inputs_scaled_by(kind, dtype):
    """A layer with constants, given or found out, that half precision rounds."""
    if kind == "adapted":
        layer = keras.layers.Normalization(dtype=dtype)
        layer.adapt(np.array([[0.1, 3.3, 1e-3, 0.7, 0.2, 5.0], [0.4, 3.4, 3e-3, 0.1, 0.3, 1.0]]))
        return layer
    if kind == "inverse":
        return keras.layers.Normalization(mean=0.1307, variance=0.3081**2, invert=True, dtype=dtype)
    if kind == "given":
        means, variances = [0.11, 0.22, 0.33, 0.44, 0.55, 0.66], [1.1, 1e-9, 0.3, 0.4, 0.5, 0.6]
        return keras.layers.Normalization(mean=means, variance=variances, dtype=dtype)
    return keras.layers.Rescaling(1 / 255, offset=0.1307, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("kind", ["adapted", "given", "inverse", "rescaling"])
def test_the_copy_has_the_constants_of_the_model(kind, nested, dtype):
    scaling = inputs_scaled_by(kind, dtype)
    inputs = keras.Input((6,))
    first = keras.Sequential([keras.Input((6,)), scaling]) if nested else scaling
    outputs = keraslip.layers.MaskedLipschitzDense(3, dtype=dtype)(first(inputs))
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    copy = keraslip.float32_copy(model)
    x, _ = samples(4)
    ours, theirs = (m.estimate(x, epsilon=0.1, power_iterations=3) for m in (model, copy))
    np.testing.assert_array_equal(ours.logits, theirs.logits)
    np.testing.assert_array_equal(ours.margin, theirs.margin)
    np.testing.assert_allclose(copy.predict_on_batch(x), theirs.logits, rtol=2e-5, atol=2e-5)


def test_the_copy_is_compiled_as_the_model_and_its_dropout_stands_where_the_models_does():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = compiled(dense_net(dropout=0.5), input_range=(-1.0, 2.0), **UNCOMPILED)
    keras.config.set_dtype_policy("float32")
    x, y = samples(8)
    model.train_on_batch(x, y)
    copy = keraslip.float32_copy(model)
    assert (copy.epsilon_value, copy.input_range) == (model.epsilon_value, (-1.0, 2.0))
    assert type(copy.robust_loss) is type(model.robust_loss)
    states = [
        [keras.ops.convert_to_numpy(v) for v in m.variables if v.name == "seed_generator_state"]
        for m in (model, copy)
    ]
    assert states[0] and states[0][0][1] > 0
    np.testing.assert_array_equal(*states)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX computes in float32 instead")
@pytest.mark.parametrize("by", ["layers", "floatx"])
def test_a_model_in_float64_is_refused_in_a_sentence(by):
    if by == "floatx":
        keras.config.set_floatx("float64")
    else:
        keras.config.set_dtype_policy("float64")
    inputs = keras.Input((4, 4, 1))
    y = keras.layers.ReLU()(keras.layers.Conv2D(2, 3, name="wide")(inputs))
    y = keras.layers.Dense(2)(keras.layers.Flatten()(y))
    model = keraslip.LocalLipschitzModel(inputs, y)
    x = np.zeros((2, 4, 4, 1), "float32")
    doors = (lambda: model.compile(epsilon=0.1), lambda: model.certify(x, epsilon=0.1))
    what = "layer 'wide' computes in" if by == "layers" else r"floatx\(\) is"
    for door in doors:
        with pytest.raises(NotImplementedError, match=f"Received: {what} float64"):
            door()


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX says that it has no float64")
def test_inputs_in_float64_before_layers_in_float32_are_trained_on():
    inputs = keras.Input((3,), dtype="float64")
    model = keraslip.LocalLipschitzModel(inputs, keras.layers.Dense(2)(inputs))
    model.compile(epsilon=0.1)
    x, y = np.eye(3), np.array([0, 1, 0])
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])
    kernel = keras.ops.convert_to_numpy(model.layers[-1].kernel)
    assert model.estimate(x, y).lipschitz == pytest.approx(np.linalg.norm(kernel, 2), rel=1e-3)
