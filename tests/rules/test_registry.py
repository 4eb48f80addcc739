"""Which layers have a rule, and what is said of the others."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.linear import DiagonalMap
from keraslip.rules import LinearRule, Rule, UnsupportedLayerError, register_rule, rule_for
from tests.harness import bound, run_rule_test


def test_a_subclass_needs_a_rule_of_its_own():
    class Doubled(layers.Dense):
        def call(self, x):
            return 2.0 * super().call(x)

    class Same(keraslip.layers.ClippedReLU):
        pass

    for layer in (Doubled(3), Same()):
        with pytest.raises(NotImplementedError, match=type(layer).__name__):
            rule_for(layer)


def test_unknown_layer_names_layer_path_and_remedy():
    inputs = keras.Input((4,))
    inner_inputs = keras.Input((4,))
    inner = keras.Model(
        inner_inputs, layers.LayerNormalization(name="norm")(inner_inputs), name="inner"
    )
    model = keraslip.LocalLipschitzModel(inputs, layers.Dense(2)(inner(inputs)))
    with pytest.raises(NotImplementedError) as caught:
        bound(model, np.zeros((1, 4), "float32"), 0.1)
    for part in ("LayerNormalization", "inner/norm", "@keraslip.register_rule", "Received: "):
        assert part in str(caught.value)
    with pytest.raises(NotImplementedError, match="inner/norm"):
        model.compile(epsilon=0.1)


def test_a_bare_operation_without_rule():
    inputs = keras.Input((4,))
    model = keraslip.LocalLipschitzModel(inputs, layers.Dense(2)(ops.exp(inputs)))
    with pytest.raises(NotImplementedError, match="Exp"):
        bound(model, np.zeros((1, 4), "float32"), 0.1)


def test_no_layer_gets_two_rules():
    for taken in (layers.Dense, keraslip.layers.ClippedReLU):
        with pytest.raises(ValueError, match=f"{taken.__name__} already has.*Received: "):

            @register_rule(taken)
            class Another(Rule):
                def propagate(self, operation, context, *args, **kwargs):
                    return args[0]


def test_a_rule_of_ones_own():
    class Negate(layers.Layer):
        def call(self, x):
            return -x

    @keraslip.register_rule(Negate)
    class NegateRule(LinearRule):
        def linear_map(self, layer, in_shape):
            return DiagonalMap(ops.full((1,), -1.0), in_shape)

    model = run_rule_test(
        lambda x: keraslip.layers.ClippedReLU()(Negate()(layers.Dense(5)(x))), (4,)
    )
    assert len(model.layers) == 5


@pytest.mark.parametrize(
    "layer, word",
    [
        (lambda: layers.Dense(3, activity_regularizer="l2"), "regularizer"),
        (lambda: keraslip.layers.MaskedLipschitzConv2D(3, 3, activity_regularizer="l1"), "regularizer"),
        (lambda: layers.Dense(3, activation="exponential"), "exponential"),
        (lambda: layers.Conv2D(3, 3, activation="glu"), "glu.*multiplies two halves"),
        (lambda: layers.Dense(3, activation=ops.sin), "'sin' has no rule"),
        (lambda: layers.Dense(3, activation=layers.Softmax()), "Softmax|softmax"),
        (lambda: layers.Activation("softmax"), "softmax.*at the end alone"),
        (lambda: layers.Activation("log_softmax"), "log_softmax.*at the end alone"),
        (lambda: layers.Activation("hard_shrink"), "hard_shrink.*jumps"),
        (lambda: layers.Activation("sparsemax"), "sparsemax.*depends on all"),
        (lambda: layers.ReLU(threshold=0.1), "jumps from 0 to 0.1"),
        (lambda: layers.UnitNormalization(), "UnitNormalization"),
        (lambda: layers.Softmax(), "Softmax"),
        (lambda: layers.GroupNormalization(1), "use BatchNormalization"),
        (lambda: layers.Lambda(lambda x: 3.0 * x), "Lambda"),
    ],
)  # fmt: skip
def test_refused_settings(layer, word):
    made = layer()
    with pytest.raises(NotImplementedError, match=word):
        rule_for(made, "some/path")
    with pytest.raises(UnsupportedLayerError, match="some/path"):
        rule_for(made, "some/path")


@pytest.mark.parametrize(
    "function, word",
    [
        (layers.LeakyReLU(float("inf")), "slope is a finite number"),
        (layers.ELU(float("nan")), "alpha is a finite number"),
        (lambda x: ops.celu(x, 0.0), "alpha is above 0"),
        (lambda x: ops.soft_shrink(x, -1.0), "threshold is above 0"),
        (lambda x: ops.squareplus(x, 0), "b is a finite number above 1e-06"),
        (lambda x: ops.threshold(x, 0.1, 0.0), "it jumps"),
    ],
)
def test_functions_with_numbers_that_have_no_rule(function, word):
    inputs = keras.Input((4,))
    model = keraslip.LocalLipschitzModel(inputs, layers.Dense(3)(function(inputs)))
    with pytest.raises(UnsupportedLayerError, match=word):
        model.compile("adam", epsilon=0.1)


def test_quantized_layers_are_refused():
    layer = layers.Dense(4)
    layer.build((None, 4))
    layer.quantize("int8")
    with pytest.raises(NotImplementedError, match="int8"):
        rule_for(layer)
