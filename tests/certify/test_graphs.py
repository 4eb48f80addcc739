"""Graphs of layers as the certifier sees them: nested, shared, summed, moved."""

import keras
import numpy as np
import pytest
from keras import layers

import keraslip
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, SumNode
from keraslip.certify.operators.kernels import ProvedConv, ProvedDense
from keraslip.rules import UnsupportedLayerError
from tests.cases import FLAT, IMAGE
from tests.certify.nets import evaluated, weights_alone
from tests.rules.test_graphs import conv

pytestmark = weights_alone


def norm_of(build, shape=FLAT, kernel=None):
    """Lipschitz bound of a linear graph of one input."""
    start = keras.Input(shape)
    model = keras.Model(start, layers.Flatten()(build(start)))
    if kernel is not None:
        for weight in model.trainable_weights:
            weight.assign(kernel if weight.name == "kernel" else np.zeros(weight.shape))
    net = Network(model)
    return evaluated(net, np.zeros((1, *shape), "float32"), 0, 0.1, backwards=False).lipschitz[0]


def test_sums_of_one_ball_are_one_map():
    tight = {"rtol": 1e-6}
    np.testing.assert_allclose(norm_of(lambda x: x + x), 2.0, **tight)
    np.testing.assert_allclose(norm_of(lambda x: layers.Add()([x, x, x])), 3.0, **tight)
    np.testing.assert_allclose(norm_of(layers.Rescaling(-3.0)), 3.0, **tight)
    minus = -np.eye(6)
    assert norm_of(lambda x: x + layers.Dense(6)(x), kernel=minus) < 1e-6
    both = layers.Add()
    np.testing.assert_allclose(
        norm_of(lambda x: both([x, layers.Dense(6)(x), x]), kernel=minus), 1.0, **tight
    )
    image = np.zeros((3, 3, 2, 2))
    image[1, 1] = -np.eye(2)
    assert norm_of(lambda x: x + conv()(x), IMAGE, image) < 1e-6
    image[1, 1] = np.eye(2)
    np.testing.assert_allclose(norm_of(lambda x: x + conv()(x), IMAGE, image), 2.0, **tight)
    assert norm_of(lambda x: (x + 3.0) + layers.Dense(6)(x + 1.0), kernel=minus) < 1e-6


def test_residual_branches_are_folded_into_one_kernel():
    start = keras.Input(IMAGE)
    x = layers.ReLU()(conv(4)(start))
    x = layers.ReLU()(x + conv(4)(x))
    net = Network(keraslip.LocalLipschitzModel(start, layers.Dense(3)(layers.Flatten()(x))))
    (node,) = (node for node in net.nodes if isinstance(node, SumNode))
    (operator,) = node.terms.values()
    assert isinstance(operator, ProvedConv)
    assert [type(op) for _, op in net.operators()][:2] == [ProvedConv, ProvedConv]


def test_a_scale_before_a_convolution_is_folded():
    start = keras.Input(IMAGE)
    x = layers.Rescaling(1 / 255)(start)
    x = layers.ReLU()(conv(4)(x))
    net = Network(keraslip.LocalLipschitzModel(start, layers.Dense(3)(layers.Flatten()(x))))
    _, operator = next(net.operators())
    assert isinstance(operator, ProvedConv) and operator.slack > 0


def test_linear_layers_without_activation_are_one_map():
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))
    scale = np.diag([10.0, 1, 1, 1, 1, 0.1])
    start = keras.Input(FLAT)
    first, last = layers.Dense(6, use_bias=False), layers.Dense(6, use_bias=False)
    model = keraslip.LocalLipschitzModel(start, last(first(start)))
    first.set_weights([scale])
    last.set_weights([np.linalg.inv(scale) @ turn])
    got = evaluated(Network(model), np.zeros((1, 6), "float32"), 0, 0.1)
    np.testing.assert_allclose(got.lipschitz, 1.0, rtol=1e-5)


def test_dropout_is_nothing():
    start = keras.Input(FLAT)
    x = layers.Dropout(0.5)(layers.ReLU()(layers.Dense(4)(layers.Dropout(0.2)(start))))
    net = Network(keraslip.LocalLipschitzModel(start, layers.Dense(3)(x)))
    assert sum(isinstance(node, ActivationNode) for node in net.nodes) == 1
    assert [type(op) for _, op in net.operators()] == [ProvedDense, ProvedDense]


def test_names_say_where_a_norm_belongs():
    start = keras.Input(FLAT)
    inner = keras.Sequential(
        [keras.Input(FLAT), layers.Dense(5, name="d"), layers.ReLU(name="r")], name="inner"
    )
    x = layers.ReLU(name="outer")(layers.Dense(4)(inner(start)))
    net = Network(keraslip.LocalLipschitzModel(start, layers.Dense(3)(x)))
    assert [name for name, _ in net.operators()] == ["inner/r", "outer", "logits"]


class Unknown(keras.layers.Layer):
    """A layer without a rule."""

    def call(self, x):
        return x * x


class Strange(keraslip.linear.Identity):
    """A linear map that computes on one backend's tensors alone."""

    def forward(self, x):
        return keras.ops.convert_to_tensor(x)


class StrangeLayer(keras.layers.Layer):
    """A layer whose rule uses that map."""

    def call(self, x):
        return x


@pytest.fixture
def rules(monkeypatch):
    """Rules for this test alone."""
    from keraslip.rules import registry

    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))

    @keraslip.register_rule(StrangeLayer)
    class StrangeRule(keraslip.rules.LinearRule):
        def linear_map(self, layer, in_shape):
            return Strange(in_shape)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            StrangeLayer,
            "'odd': its linear map Strange is not believed: it does not compute in float64",
        ),
        (Unknown, "No rule carries a Lipschitz bound through Unknown at 'odd'"),
    ],
)
def test_layers_that_no_certificate_can_pass(layer, message, rules):
    start = keras.Input(FLAT)
    x = layer(name="odd")(layers.Dense(4)(start))
    model = keraslip.LocalLipschitzModel(start, layers.Dense(3)(x))
    x = np.zeros((2, *FLAT), "float32")
    for call in (model.certify, model.local_lipschitz):
        with pytest.raises(UnsupportedLayerError, match=message):
            call(x, epsilon=0.1)


def test_a_layer_without_a_rule_is_refused():
    """Nothing of such a model is certified."""
    start = keras.Input(FLAT)
    x = layers.LayerNormalization(name="odd")(layers.Dense(4)(start))
    with pytest.raises(UnsupportedLayerError, match="at 'odd'"):
        made = keraslip.LocalLipschitzModel(start, layers.Dense(3)(layers.ReLU()(x)))
        made.certify(np.zeros((2, *FLAT), "float32"), epsilon=0.1)
