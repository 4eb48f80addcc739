"""Layers may be called anything: no name of theirs is taken for one of the model's own."""

import keras
import numpy as np
import pytest

import keraslip
from keraslip.layers import ClippedReLU, MaskedLipschitzDense
from keraslip.rules import Rule
from tests.models.nets import CLASSES, FEATURES, UNCOMPILED, compiled, samples

#: Models are trained, saved and loaded on every backend in test_saving.py.
pytestmark = pytest.mark.any_backend("names, which the walk through the graph makes")
X, Y = samples(8)
OWN = ["logits", "run_step"]


def net(first="a", activation="b", last="c"):
    inputs = keras.Input((FEATURES,))
    x = MaskedLipschitzDense(8, name=first)(inputs)
    x = ClippedReLU(name=activation)(x)
    x = ClippedReLU()(MaskedLipschitzDense(5)(x))
    outputs = MaskedLipschitzDense(CLASSES, name=last)(x)
    return compiled(keraslip.LocalLipschitzModel(inputs, outputs), **UNCOMPILED)


def answers(model):
    model.fit(X, Y, epochs=1, verbose=0)
    rows = model.explain(X, power_iterations=2)
    assert len({row.layer for row in rows}) == len(rows)
    return model.estimate(X, Y, power_iterations=3).margin, [row.local_norm for row in rows]


def plain():
    keras.utils.set_random_seed(1)
    return answers(net())


@pytest.fixture(scope="module")
def expected():
    return plain()


@pytest.mark.parametrize("name", OWN)
def test_an_activation_may_have_any_name(expected, name, tmp_path):
    keras.utils.set_random_seed(1)
    model = net(activation=name)
    for found, wanted in zip(answers(model), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(X), model.predict_on_batch(X))


def test_dense_layers_may_have_any_name(expected):
    keras.utils.set_random_seed(1)
    for found, wanted in zip(answers(net("logits", last="epsilon")), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_names_of_repeated_layers_and_of_branches_are_told_apart():
    inputs = keras.Input((FEATURES,))
    twice = keras.layers.ReLU(name="twice")
    x = twice(MaskedLipschitzDense(8)(inputs))
    x = twice(MaskedLipschitzDense(7)(x))
    x = ClippedReLU(name="twice:2")(MaskedLipschitzDense(6)(x))
    skip = MaskedLipschitzDense(5)(x)
    x = ClippedReLU(name="sum")(keras.layers.Add()([skip, MaskedLipschitzDense(5)(twice(x))]))
    x = ClippedReLU(name="sum+1")(MaskedLipschitzDense(4)(x))
    model = compiled(
        keraslip.LocalLipschitzModel(inputs, MaskedLipschitzDense(CLASSES)(x)), **UNCOMPILED
    )
    answers(model)
    assert [row.layer for row in model.explain(X, power_iterations=1)] == [
        *("twice", "twice:3", "twice:2", "twice:4", "sum", "sum+1", "logits")
    ]


def test_layers_of_one_name_in_models_inside_models():
    def inner():
        return keras.Sequential(
            [
                keras.Input((FEATURES,)),
                MaskedLipschitzDense(FEATURES, name="logits"),
                ClippedReLU(name="x"),
            ]
        )

    inputs = keras.Input((FEATURES,))
    x = ClippedReLU(name="x")(MaskedLipschitzDense(FEATURES)(inner()(inner()(inputs))))
    model = compiled(
        keraslip.LocalLipschitzModel(inputs, MaskedLipschitzDense(CLASSES)(x)), **UNCOMPILED
    )
    answers(model)
    assert model.certify(X, Y, workers=1, verbose=0).margin.shape == (8,)


class Two(keras.layers.Layer):
    """Two activations of different sizes in one layer."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4), initializer="glorot_uniform")

    def call(self, x):
        return keras.ops.relu(keras.ops.relu(x) @ self.kernel)


@keraslip.register_rule(Two)
class TwoRule(Rule):
    def propagate(self, operation, context, *args, **kwargs):
        from keraslip.activations import ClippedReLU
        from keraslip.linear import DenseMap

        relu = ClippedReLU()
        form = context.activate(args[0], relu)
        kernel = keras.ops.convert_to_tensor(operation.kernel)
        return context.activate(context.linear(form, DenseMap(kernel, form.shape)), relu)


def test_one_layer_may_close_two_bounds():
    inputs = keras.Input((FEATURES,))
    x = Two(name="two")(MaskedLipschitzDense(6)(inputs))
    model = compiled(
        keraslip.LocalLipschitzModel(inputs, MaskedLipschitzDense(CLASSES)(x)), **UNCOMPILED
    )
    answers(model)
    assert [row.layer for row in model.explain(X)] == ["two", "two//2", "logits"]
