"""NaN and infinity never certify, wherever they sit, and neither do ties."""

import keras
import numpy as np
import pytest

import keraslip
from tests.models.nets import CLASSES, FEATURES, UNCOMPILED, compiled, samples

X, Y = samples(8)


#: Every activation in one of the two nets.
ACTIVATIONS = {
    "clipped": (keraslip.layers.ClippedReLU, keraslip.layers.ClippedMaxMin),
    "plain": (keras.layers.ReLU, keraslip.layers.MaxMin),
}


def net(kind):
    """A net that certifies every sample: large biases decide, weights hardly matter."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((FEATURES,))
    x = keraslip.layers.MaskedLipschitzDense(6)(inputs)
    first, second = ACTIVATIONS[kind]
    x = first()(x)
    x = second()(keraslip.layers.MaskedLipschitzDense(4)(x))
    outputs = keraslip.layers.MaskedLipschitzDense(CLASSES, name="logits")(x)
    model = compiled(keraslip.LocalLipschitzModel(inputs, outputs, name=kind), **UNCOMPILED)
    model.get_layer("logits").bias.assign([0.0, 50.0, 0.0])
    return model


def uncertified(model, x=X):
    """Neither the estimate nor the logs certify anything."""
    y = np.ones(len(x), "int32")
    for bound in ("local", "global", "paper"):
        found = model.estimate(x, y, bound=bound, power_iterations=3)
        assert not found.certified.any(), bound
        assert np.isnan(found.margin).all(), bound
    logs = model.test_on_batch(x, y, return_dict=True)
    assert logs["certified_accuracy"] == 0.0


@pytest.fixture(scope="module", params=ACTIVATIONS)
def model(request):
    return net(request.param)


def test_without_nan_everything_is_certified(model):
    assert model.estimate(X, np.ones(8, int)).certified.all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_one_bad_number_in_any_weight_certifies_nothing(model, value):
    good = model.get_weights()
    names = [w.path for w in model.weights]
    trained = [w.path for w in model.trainable_weights]
    vectors = [name for name in names if "lipschitz_vector" in name]
    assert len(vectors) == 3
    try:
        for index, name in enumerate(names):
            # An infinite threshold clips nothing; everything else must be finite.
            harmless = np.isinf(value) and any(
                k in name for k in ("threshold", "theta", "upper", "lower")
            )
            if name not in (*trained, *vectors) or harmless:
                continue
            bad = [np.array(w) for w in good]
            bad[index].reshape(-1)[0] = value
            model.set_weights(bad)
            uncertified(model)
    finally:
        model.set_weights(good)


def test_nan_in_the_bias_of_a_unit_that_relu_would_hide(model):
    # All other inputs of the unit are far below zero: max(NaN, 0) is 0 on some backends.
    good = model.get_weights()
    try:
        layer = model.layers[1]
        layer.bias.assign([-100.0, np.nan, -100.0, -100.0, -100.0, -100.0])
        uncertified(model)
    finally:
        model.set_weights(good)


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_a_bad_input_hurts_its_own_sample_alone(model, value):
    x = X.copy()
    x[2, 1] = value
    y = np.ones(8, "int32")
    # Public functions refuse such inputs; this is the step behind them.
    logs = model.test_on_batch(x, y, return_dict=True)
    assert logs["certified_accuracy"] <= 7 / 8
    with pytest.raises(ValueError, match="NaN"):
        model.estimate(x, y)


def test_a_tie_is_not_certified(model):
    good = model.get_weights()
    try:
        kernel = np.ones((4, CLASSES), "float32")
        model.get_layer("logits").set_weights([kernel, np.zeros(CLASSES)])
        found = model.estimate(X, np.zeros(8, int), epsilon=0.0)
        # All logits are equal: class 0 is predicted, and nothing is certified even at epsilon 0.
        np.testing.assert_array_equal(found.margin, 0.0)
        assert found.accuracy == 1.0 and not found.certified.any()
        logs = model.test_on_batch(X, np.zeros(8, "int32"), return_dict=True)
        assert logs["certified_accuracy"] == 0.0
    finally:
        model.set_weights(good)


def test_a_wrong_prediction_is_not_certified(model):
    assert not model.estimate(X, np.zeros(8, int)).certified.any()
    assert model.estimate(X).certified.all()
