"""Layers and models of one's own, with a call that Keras can trace, inside of others."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.convert import check_plain
from keraslip.rules import UnsupportedLayerError

RNG = np.random.default_rng(1)


class Scale(layers.Layer):
    """A weight of its own, and no layer in it."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones", name="gamma")

    def call(self, inputs):
        return inputs * self.gamma


class Block(layers.Layer):
    """As people write residual blocks; the names are those of every block."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = layers.Dense(5, name="first"), layers.Dense(5, name="second")
        self.norm, self.scale = layers.BatchNormalization(name="norm"), Scale(name="scale")

    def call(self, inputs, training=None):
        x = ops.relu(self.norm(self.first(inputs), training=training))
        return inputs + self.scale(self.second(x))


class Stack(keras.Model):
    def __init__(self, count):
        super().__init__()
        self.blocks = [Block() for _ in range(count)]
        self.last = layers.Dense(3, activation="softmax")

    def call(self, inputs):
        x = inputs
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def of_layers():
    inputs, shared = keras.Input((5,)), Block()
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(shared(shared(inputs))))


def of_models():
    model = Stack(2)
    model(np.zeros((1, 5), "float32"))
    return model


def inside_a_graph():
    inputs, inner = keras.Input((4,)), keras.Sequential([layers.Dense(5), Block()])
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(inner(inputs)))


def filled(model):
    for weight in model.weights:
        values = RNG.normal(size=weight.shape) * 0.7
        if "norm" in weight.path and ("variance" in weight.path or "gamma" in weight.path):
            values = np.abs(values) + 0.3
        weight.assign(values)
    return model


@pytest.mark.parametrize("build", [of_layers, of_models, inside_a_graph])
def test_blocks_of_ones_own_are_opened(build, tmp_path):
    model = filled(build())
    x = RNG.uniform(size=(6, 4 if build is inside_a_graph else 5)).astype("float32")
    before = model.predict(x, verbose=0)
    assert check_plain(model)
    converted = keraslip.from_keras(model)
    names = [layer.name for layer in converted.layers]
    assert len(set(names)) == len(names)
    np.testing.assert_allclose(softmax(converted, x), before, atol=2e-6)
    found = converted.certify(x, epsilon=1e-3, verbose=False)
    assert found.certified.any()
    # What were weights are numbers of its own: the model that was given may be trained on.
    for weight in model.weights:
        weight.assign(0.0 * weight)
    np.testing.assert_allclose(softmax(converted, x), before, atol=2e-6)
    converted.save(tmp_path / "opened.keras")
    loaded = keras.saving.load_model(tmp_path / "opened.keras")
    np.testing.assert_allclose(softmax(loaded, x), before, atol=2e-6)


def softmax(model, x):
    return ops.convert_to_numpy(ops.softmax(model.predict(x, verbose=0)))


class Random(layers.Layer):
    def call(self, inputs):
        return ops.add(inputs, ops.convert_to_tensor(RNG.normal(size=(1, 4)), "float32"))


class Product(layers.Layer):
    def call(self, inputs):
        return inputs * ops.sigmoid(inputs)


class Branching(layers.Layer):
    def call(self, inputs):
        return inputs if float(ops.sum(inputs)) > 0 else -inputs

    def compute_output_shape(self, shape):
        return shape

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape)


class Inherited(layers.Dense):
    pass


class Limited(layers.Layer):
    """Its argument changes nothing near 0, where answers are compared."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dense(5)

    def call(self, inputs, top=None):
        x = self.first(inputs)
        return x if top is None else ops.minimum(x, top)


class Eager(keras.Model):
    """At inference Keras says training=False, whatever the default is."""

    def __init__(self):
        super().__init__()
        self.first, self.last = layers.Dense(5), layers.Dense(3)

    def call(self, inputs, training=True):
        x = self.first(inputs)
        return self.last(ops.minimum(x, 1e3) if training else x)


def test_arguments_of_a_call_are_not_left_out():
    inputs, layer = keras.Input((4,)), Limited(name="limited")
    outputs = layers.Dense(3)(layer(inputs, top=50.0))
    model = keras.Model(inputs, outputs)
    with pytest.raises(UnsupportedLayerError, match="No rule.*Limited at 'limited'"):
        keraslip.from_keras(model)
    # Nor if another call of the layer says nothing.
    both = layers.Dense(3)(layers.Add()([layer(inputs), layer(inputs, top=50.0)]))
    with pytest.raises(UnsupportedLayerError, match="No rule.*Limited at 'limited"):
        keraslip.from_keras(keras.Model(inputs, both))
    plain = keras.Model(inputs, layers.Dense(3)(layer(inputs)))
    assert keraslip.from_keras(plain).layers


def test_a_nested_model_that_is_called_as_in_training_is_refused():
    """Beside a layer that is opened, too."""
    inputs, inner = keras.Input((5,)), keras.Sequential([layers.GaussianNoise(1e-9)])
    inner.build((None, 5))
    model = keras.Model(inputs, layers.Dense(3)(inner(Block()(inputs), training=True)))
    with pytest.raises(UnsupportedLayerError, match="says training=True"):
        keraslip.from_keras(model)


def test_models_are_opened_as_they_are_at_inference():
    model = Eager()
    model.predict(np.zeros((1, 4), "float32"), verbose=0)
    x = np.full((1, 4), 1e5, "float32")
    x *= np.sign(ops.convert_to_numpy(model.first.kernel))[:, 0]
    converted = keraslip.from_keras(model)
    before, after = (each.predict(x, verbose=0) for each in (model, converted))
    np.testing.assert_allclose(after, before, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Random, "does not answer as the model"),
        (Product, "product of two branches"),
        (Branching, "No rule.*Branching"),
        (lambda: Inherited(3), "No rule.*Inherited"),
    ],
)
def test_what_tracing_does_not_help(layer, message):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(3)(layer()(inputs)))
    with pytest.raises((NotImplementedError, ValueError), match=message):
        keraslip.from_keras(model)


def ends(build):
    inputs = keras.Input((4,))
    return keras.Model(inputs, build(inputs))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: layers.Softmax(axis=0)(layers.Dense(3)(x)), "along the classes"),
        (lambda x: ops.softmax(layers.Dense(3)(x), axis=None), "along the classes"),
        (lambda x: ops.log_softmax(layers.Dense(3)(x), axis=0), "along the classes"),
        (lambda x: x, "no layer between"),
    ],
)
def test_ends_that_the_page_and_the_conversion_refuse_alike(build, message):
    model = ends(build)
    assert not check_plain(model)
    with pytest.raises(NotImplementedError, match=message):
        keraslip.from_keras(model)
    with pytest.raises(NotImplementedError, match=message):
        keraslip.LocalLipschitzModel(model.inputs, model.outputs).compile("adam", epsilon=0.1)


@pytest.mark.parametrize("axis", [-1, 1, [1]])
def test_a_softmax_along_the_classes_is_left_off(axis):
    model = filled(ends(lambda x: layers.Softmax(axis=axis)(layers.Dense(3)(x))))
    x = RNG.uniform(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(
        softmax(keraslip.from_keras(model), x), model.predict(x, verbose=0), atol=2e-6
    )


class Alone(layers.Layer):
    """Does something else to a sample alone."""

    def call(self, inputs):
        return -inputs if inputs.shape[0] == 1 else inputs


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="predict may say no size there")
@pytest.mark.parametrize("own", [False, True])
def test_a_call_that_asks_for_the_size_of_the_batch_is_found(own):
    start = keras.Input((4,))
    graph = keras.Model(start, layers.Dense(3)(Alone()(layers.Dense(5)(start))))

    class Own(keras.Model):
        def call(self, x):
            return graph(x)

    with pytest.raises(ValueError, match="does not answer as the model that was given"):
        keraslip.from_keras(Own() if own else graph, input_shape=(4,))
