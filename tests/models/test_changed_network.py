"""A layer that is changed after first use: every door answers for the network as it is now."""

import copy
import functools
import os
import types

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.attacks import accuracy_under_attack, pgd_l2
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.execution.content import content
from keraslip.certify.execution.executed import Executed
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.norms.rounding import Execution
from keraslip.linear import DiagonalMap
from keraslip.rules import LinearRule
from keraslip.rules.signature import signature

SETTING = types.SimpleNamespace(scale=1.0)
VARIABLE = "KERASLIP_TEST_GAIN"


def number_of(layer):
    own = layer.holder["numbers"][0] * layer.factor
    number = own * SETTING.scale * float(os.environ.get(VARIABLE, "1"))
    return ops.convert_to_tensor(number, "float32")


class Gain(layers.Layer):
    """Multiplies by numbers that no configuration shows."""

    factor = 1.0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.holder = {"numbers": [np.ones(1, "float32")]}

    def call(self, x):
        return x * number_of(self)


@keraslip.register_rule(Gain)
class GainRule(LinearRule):
    def linear_map(self, layer, in_shape):
        return DiagonalMap(number_of(layer), in_shape)


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


def own_global(model):
    SETTING.scale = -3.0


def own_file(model):
    os.environ[VARIABLE] = "-3"


def weights(model):
    model.get_layer("dense").set_weights([2.0 * w for w in model.get_layer("dense").get_weights()])


def own_attribute(model):
    model.get_layer("gain").factor = -4.0


def own_array(model):
    model.get_layer("gain").holder["numbers"][0][:] = 7.0


CHANGES = (activation, scale, scale_in_place, offset, adapted, floor, pool_size, dilation, upper, no_upper,
           bias, weights, own_attribute, own_array, own_global, own_file)  # fmt: skip


@pytest.fixture(autouse=True)
def _epsilon():
    before = keras.config.epsilon()
    yield
    keras.config.set_epsilon(before)
    SETTING.scale = 1.0
    os.environ.pop(VARIABLE, None)


@functools.cache
def shared():
    """One model for all changes: building it takes longer than using it."""
    model = build()
    return (
        model,
        [(layer, copy.deepcopy(settings_of(layer))) for layer in model.layers],
        model.get_weights(),
    )


def settings_of(layer):
    plain = (bool, int, float, str, tuple, list, dict, type(None))
    return {
        name: value for name, value in vars(layer).items() if type(value) in plain and name in OWN
    }


OWN = ("scale", "offset", "factor", "holder", "dilation_rate", "pool_size", "max_value", "use_bias")


@pytest.fixture
def model():
    """The shared model; what a test does to it is undone."""
    found, settings, weights = shared()
    whole = [(layer, dict(vars(layer))) for layer in found.layers]
    yield found
    for (layer, attributes), (_, plain) in zip(whole, settings, strict=True):
        vars(layer).update({**attributes, **copy.deepcopy(plain)})
        vars(layer).pop("factor", None)
    found.set_weights(weights)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_seen(model, change):
    before, known, seen = logits_of(model)[1], network_of(model)[1], signature(model)
    change(model)
    assert network_of(model)[1] != known
    # Weights are read at every call, and no attribute shows what a layer reads from a file.
    assert (signature(model) == seen) == (change in (weights, own_file))
    exact, executed = logits_of(model)
    np.testing.assert_allclose(exact, now(model), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(executed, now(model), rtol=1e-4, atol=1e-4)
    assert np.abs(before - executed).max() > 1e-3, "the change changed nothing"


def test_every_door_sees_a_change():
    keras.utils.set_random_seed(0)
    start = keras.Input((4,))
    x = layers.Dropout(1e-6)(Gain(name="gain")(start))
    x = layers.Dense(5, "relu", name="first")(layers.Reshape((4,))(x))
    model = keraslip.LocalLipschitzModel(start, layers.Dense(3)(x))
    settings = {"epsilon": 0.0, "train_epsilon": 0.0, "input_range": None}
    model.compile(keras.optimizers.SGD(0.0), **settings)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")

    def use():
        seen, logits = signature(model), ops.convert_to_numpy(model(x))
        y = logits.argmax(axis=1)
        np.testing.assert_allclose(model.predict_on_batch(x), logits, rtol=1e-3, atol=1e-5)
        found = model.estimate(x, power_iterations=1)
        np.testing.assert_allclose(found.logits, logits, rtol=1e-3, atol=1e-5)
        accuracies = [
            model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"],
            model.fit(x, y, epochs=1, verbose=0).history["accuracy"][0],
            accuracy_under_attack(model, x, y, 0.0, steps=1, verbose=False, input_range=None),
            model.certify(x, y, verbose=False, batch_size=8).certified_accuracy(y),
        ]
        assert accuracies == [1.0] * 4
        # Towards another label: what the attack finds is one for the network as it is.
        (attacked,) = pgd_l2(model, x[:1], y[:1], 9.0, steps=4, input_range=None, verbose=False)
        assert ops.convert_to_numpy(model(attacked[None])).argmax() != y[0]
        gain = model.local_lipschitz(x[:1], 0.1)[0]
        assert signature(model) == seen, "use alone changes nothing: functions stay compiled"
        return y, gain

    y, gain = use()
    model.get_layer("first").activation = keras.activations.linear
    model.get_layer("gain").factor = -40.0
    other, steeper = use()
    assert (y != other).any() and steeper > 5.0 * gain
    model.get_layer("first").trainable = False
    with pytest.raises(ValueError, match="frozen or unfrozen.* call compile again"):
        model.fit(x, y, verbose=0)


def negative(x):
    return -x


class Own(keras.Model):
    """A model with a call of its own, which attacks take as well."""

    def __init__(self):
        super().__init__()
        self.parts = [layers.Dense(3, name="inside")]
        self.sign = 1.0

    def call(self, x, training=None):
        return self.sign * self.parts[0](x)


@pytest.mark.parametrize("kind", ["own", "plain"])
def test_attacks_on_any_model_see_a_change(kind):
    """Keras' own functions are stale there; labels that an attack takes for right are those of now."""
    x = np.random.default_rng(0).uniform(size=(8, 4)).astype("float32")
    dense = layers.Dense(3)
    model = Own() if kind == "own" else keras.Sequential([keras.Input((4,)), dense, layers.ReLU()])
    dense = model.parts[0] if kind == "own" else dense

    def use():
        y = ops.convert_to_numpy(model(ops.convert_to_tensor(x))).argmax(axis=1)
        assert accuracy_under_attack(model, x, y, 0.0, steps=1, verbose=False) == 1.0
        attacked = pgd_l2(model, x, y, 9.0, steps=3, restarts=2, input_range=None, verbose=False)
        fooled = ops.convert_to_numpy(model(ops.convert_to_tensor(attacked))).argmax(axis=1) != y
        return y, fooled.mean()

    model(x[:1])
    model.predict(x, verbose=0)
    y, fooled = use()
    assert fooled > 0.5
    if kind == "own":
        model.sign = -1.0
    else:
        dense.activation = negative
    other, fooled = use()
    assert (y != other).any() and fooled > 0.5


def test_a_layer_that_gives_another_shape_is_refused(model):
    model.get_layer("conv").strides = (2, 2)
    for call in (model.certify, model.estimate):
        with pytest.raises(NotImplementedError, match="'conv' was changed after.* built.*compile"):
            call(X, epsilon=0.1)


def test_an_activation_that_is_new_has_no_vector_to_train_with():
    start = keras.Input((4,))
    x = layers.Dense(5, name="first")(start)
    model = keraslip.LocalLipschitzModel(start, layers.Dense(3)(x))
    model.compile(epsilon=0.1)
    model.get_layer("first").activation = keras.activations.relu
    x = np.ones((2, 4), "float32")
    logits = ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(model.estimate(x, power_iterations=1).logits, logits, rtol=1e-3)
    with pytest.raises(NotImplementedError, match="'first' was changed after.* built.*compile"):
        model.evaluate(x, np.zeros(2, int), verbose=0)


@pytest.mark.any_backend("Python objects; what runs is Keras'")
@pytest.mark.parametrize("nested", [False, True])
def test_a_call_that_is_replaced_on_a_model_is_no_longer_its_graph(nested):
    inside = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="relu")])
    start = keras.Input((3,))
    model = keraslip.LocalLipschitzModel(start, layers.Dense(2)(inside(start)))
    x = np.zeros((1, 3), "float32")
    assert np.isfinite(model.local_lipschitz(x, 0.1)).all()
    changed = inside if nested else model
    own = changed.call
    changed.call = lambda x, training=None, mask=None: 10.0 * own(x, training=training)
    with pytest.raises(keraslip.rules.UnsupportedLayerError):
        model.local_lipschitz(x, 0.1)


@pytest.mark.any_backend("Python objects")
def test_a_function_that_says_it_is_another_packages_is_read():
    """`functools.wraps` copies the name of a module."""
    state = {"factor": 1.0}
    model = keraslip.LocalLipschitzModel(start := keras.Input((3,)), layers.Dense(2)(start))
    own = functools.wraps(keras.activations.relu)(lambda x: state["factor"] * x)
    model.layers[-1].activation = own
    before, known = signature(model), content(own)
    assert signature(model) == before and content(own) == known
    state["factor"] = 2.0
    assert signature(model) != before and content(own) != known
