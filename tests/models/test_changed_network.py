"""A layer that is changed after first use: every door answers for the network as it is now."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.attacks import accuracy_under_attack, pgd_l2
from keraslip.bounds.maps import DiagonalMap
from keraslip.certify.execution import Executed
from keraslip.certify.global_norms import global_norms
from keraslip.certify.kept_network import network_of
from keraslip.certify.propagation import SoundPass
from keraslip.certify.rounding import Execution
from keraslip.models.signature import signature
from keraslip.rules import LinearRule

SCALE = 1.0


class Gain(layers.Layer):
    """Multiplies by numbers that no configuration shows."""

    factor = 1.0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.holder = {"numbers": [np.ones(1, "float32")]}

    def call(self, x):
        return x * ops.convert_to_tensor(self.holder["numbers"][0] * self.factor * SCALE, "float32")


@keraslip.register_rule(Gain)
class GainRule(LinearRule):
    def linear_map(self, layer, in_shape):
        number = layer.holder["numbers"][0] * layer.factor * SCALE
        return DiagonalMap(ops.convert_to_tensor(number, "float32"), in_shape)


def build():
    """All that can be changed, one after the other, on images of (6, 6, 2)."""
    x = start = keras.Input((6, 6, 2))
    x = layers.Normalization(mean=[0.5, 0.2], variance=[1.0, 2.0], name="normal")(x)
    x = layers.Rescaling([1.0, 0.5], name="scaled")(x)
    x = Gain(name="gain")(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.AveragePooling2D(2, padding="same", name="pool")(x)
    x = layers.ReLU(max_value=4.0, name="relu")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(8, name="dense")(x)
    x = keraslip.layers.ClippedReLU(0.9, name="clip")(x)
    made = keraslip.LocalLipschitzModel(start, layers.Dense(3, name="last")(x))
    made.compile("sgd", epsilon=0.05, train_epsilon=0.05)
    return made


X = np.random.default_rng(0).uniform(size=(6, 6, 6, 2)).astype("float32")


def now(model):
    """Logits as the layers compute them now."""
    return ops.convert_to_numpy(model(ops.convert_to_tensor(X), training=False))


def logits_of(model):
    """What the certifier takes for the logits: its own copy of the network, and the executed ones."""
    network, _ = network_of(model)
    exact = SoundPass(
        network, X.astype("float64"), np.zeros(len(X)), global_norms, Execution.of("float32")
    )
    return exact.logits, Executed(model, len(X)).logits(X)


def use(model):
    """Every other door: logits, or what follows from them."""
    y = now(model).argmax(axis=1)
    certificates = model.certify(X, epsilon=0.0, verbose=False, batch_size=8)
    logs = model.evaluate(X, y, verbose=0, return_dict=True)
    attacked = pgd_l2(model, X, y, 0.5, steps=2, verbose=False)
    bounds = [row.local_norm for row in model.explain(X[:2], 0.05, power_iterations=2)]
    return {
        "certified label": certificates.label,
        "certified margin": certificates.margin,
        "predict": model.predict(X, verbose=0),
        "predict_on_batch": model.predict_on_batch(X),
        "estimate": model.estimate(X, epsilon=0.0, power_iterations=1).logits,
        "evaluate": [logs["accuracy"], logs["lipschitz"]],
        "test_on_batch": model.test_on_batch(*map(ops.convert_to_tensor, (X, y)), return_dict=True)[
            "loss"
        ],
        "local_lipschitz": model.local_lipschitz(X[:2], 0.05),
        "explain": bounds,
        "pgd": attacked,
        "under attack": accuracy_under_attack(model, X, y, 0.0, steps=1, verbose=False),
    }


def activation(model):
    model.get_layer("conv").activation = keras.activations.linear


def scale(model):
    model.get_layer("scaled").scale = [30.0, -0.5]


def scale_in_place(model):
    model.get_layer("scaled").scale[0] = 30.0


def offset(model):
    model.get_layer("scaled").offset = 3.0


def adapted(model):
    layer = model.get_layer("normal")
    layer.mean, layer.variance = ops.convert_to_tensor([[[[3.0, -3.0]]]]), layer.variance / 50.0


def floor(model):
    keras.config.set_epsilon(3.0)


def pool_size(model):
    model.get_layer("pool").pool_size = (3, 3)


def dilation(model):
    model.get_layer("conv").dilation_rate = (2, 2)


def upper(model):
    model.get_layer("relu").max_value = 0.01


def no_upper(model):
    model.get_layer("relu").max_value = None
    model.get_layer("scaled").scale = [300.0, 0.5]


def bias(model):
    model.get_layer("dense").use_bias = False
    model.get_layer("dense").bias.assign(np.full(8, 2.0))


def weights(model):
    model.get_layer("dense").set_weights([2.0 * w for w in model.get_layer("dense").get_weights()])


def own_attribute(model):
    model.get_layer("gain").factor = -4.0


def own_array(model):
    model.get_layer("gain").holder["numbers"][0][:] = 7.0


CHANGES = (activation, scale, scale_in_place, offset, adapted, floor, pool_size, dilation, upper, no_upper,
           bias, weights, own_attribute, own_array)  # fmt: skip


@pytest.fixture(autouse=True)
def _epsilon():
    before = keras.config.epsilon()
    yield
    keras.config.set_epsilon(before)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_seen(change):
    model = build()
    before, known, seen = logits_of(model)[1], network_of(model)[1], signature(model)
    change(model)
    assert network_of(model)[1] != known
    assert signature(model) != seen or change is weights, "compiled functions would be kept"
    exact, executed = logits_of(model)
    np.testing.assert_allclose(exact, now(model), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(executed, now(model), rtol=1e-4, atol=1e-4)
    assert np.abs(before - executed).max() > 1e-3, "the change changed nothing"


def test_every_door_sees_a_change():
    model = build()
    use(model)
    activation(model)
    own_attribute(model)
    found, logits = use(model), now(model)
    for name in ("predict", "predict_on_batch", "estimate"):
        np.testing.assert_allclose(found[name], logits, rtol=1e-3, atol=1e-4, err_msg=name)
    top = np.sort(logits, axis=1)
    np.testing.assert_array_equal(found["certified label"], logits.argmax(axis=1))
    np.testing.assert_allclose(found["certified margin"], top[:, -1] - top[:, -2], rtol=1e-2)
    model.compile("sgd", epsilon=0.05, train_epsilon=0.05)  # drops all that is kept
    fresh = use(model)
    for name, value in found.items():
        np.testing.assert_allclose(value, fresh[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_layer_that_gives_another_shape_is_refused():
    model = build()
    model.get_layer("conv").strides = (2, 2)
    for call in (model.certify, model.estimate):
        with pytest.raises(
            NotImplementedError, match="'conv' was changed after the model was built.*compile"
        ):
            call(X)


def test_an_activation_that_is_new_has_no_vector_to_train_with():
    model = build()
    before = model.estimate(X)
    model.get_layer("dense").activation = keras.activations.relu
    np.testing.assert_allclose(
        model.estimate(X).logits, before.logits, rtol=1e-5
    )  # the clip does the same
    with pytest.raises(
        NotImplementedError, match="'dense' was changed after the model was built.*compile"
    ):
        model.evaluate(X, np.zeros(len(X), int), verbose=0)
