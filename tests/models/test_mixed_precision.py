"""Mixed precision: the bound stays in float32, and what is certified is the float32 model."""

import keras
import numpy as np
import pytest

import keraslip
from tests.models.nets import assert_same, compiled, dense_net, samples, weights_of

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
    # A model that is not compiled has a copy too.
    assert len(keraslip.float32_copy(model).certify(x, y, 0.1, workers=1, verbose=0)) == len(x)


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
