"""The ends of float: what overflows on the way, what is too small for float32, and products that vanish."""

import keras
import numpy as np
import pytest
from keras import layers

import keraslip
from keraslip.certify.bound.network import Network
from keraslip.certify.execution.executed import Executed, check_rounding
from keraslip.certify.operators import prove
from keraslip.linear import Composition, DenseMap, DiagonalMap, Sum
from tests.certify.nets import FLOAT32, evaluated, forward
from tests.harness import tensor

Conv, Dense = layers.Conv2D, layers.Dense


def ends_in(x, build, weights, bias=(1.0, 0.0)):
    """A model of some layers and a last one with two logits."""
    start = keras.Input(x.shape[1:])
    outputs = build(start)
    outputs = layers.Flatten()(outputs) if len(outputs.shape) > 2 else outputs
    last = Dense(2)
    model = keraslip.LocalLipschitzModel(start, last(outputs))
    last.set_weights([np.broadcast_to(weights, last.kernel.shape), np.asarray(bias)])
    return model


def executed(model, x):
    return Executed(model, len(x)).logits(x)


#: Without further settings JAX has no float64.
has_float64 = pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has no float64")


class Twice(layers.Layer):
    """`1e-30 (1e30 x)`, or `1e30 x - 1e30 x`: results on the way are large."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, x):
        return 1e-30 * (1e30 * x) if self.kind == "chain" else 1e30 * x + (-1e30) * x


@keraslip.register_rule(Twice)
class TwiceRule(keraslip.rules.LinearRule):
    def linear_map(self, layer, in_shape):
        large, small, minus = (
            DiagonalMap(tensor([scale]), in_shape) for scale in (1e30, 1e-30, -1e30)
        )
        return Composition(small, large) if layer.kind == "chain" else Sum((large, minus))


#: Layers, the shape of an input, what every entry of a point is in units of its norm, and a radius.
OVERFLOWING = {
    "global mean": (layers.GlobalAveragePooling2D, (8, 8, 1), 1 / 8, 5e37),
    "mean of channels first": (
        lambda: layers.GlobalAveragePooling2D(data_format="channels_first"), (1, 8, 8), 1 / 8, 5e37,
    ),
    "pool": (lambda: layers.AveragePooling2D(4), (4, 4, 1), 1 / 4, 1e38),
    "pool over padding": (
        lambda: layers.AveragePooling2D(3, 1, padding="same"), (3, 3, 1), 1 / 3, 2e38,
    ),
    "x - mean": (lambda: layers.Normalization(mean=3e38, variance=1e38), (1,), -1.0, 1e38),
    "scale x": (lambda: layers.Rescaling(1e10), (1,), 1.0, 1e29),
    "a chain": (lambda: Twice("chain"), (1,), 1.0, 1e9),
    "a square": (lambda: layers.Activation("squareplus"), (1,), 1.0, 1e20),
    "a sum": (lambda: Twice("sum"), (1,), 1.0, 1e9),
}  # fmt: skip


@pytest.mark.parametrize("name", OVERFLOWING)
def test_what_overflows_on_the_way_is_not_certified(name):
    make, shape, each, epsilon = OVERFLOWING[name]
    x = np.zeros((1, *shape), "float32")
    # The last layer reads nothing of it, so that in real numbers the label never changes.
    model = ends_in(x, make(), 0.0)
    net, point = Network(model), np.full_like(x, 0.99 * each * epsilon)
    # XLA multiplies the constants of a chain before it reads x.
    assert name == "a chain" or not np.isfinite(executed(model, point)).all()
    for radius, fits in ((epsilon, False), (epsilon / 100, True)):
        got = evaluated(net, x, 0, radius, execution=FLOAT32)
        assert (got.margins.least > 0).all() == fits and np.isfinite(got.error).all() == fits
    # A center that is near the end is no better.
    got = evaluated(net, point * 0.98, 0, 0.02 * epsilon, execution=FLOAT32)
    assert not (got.margins.least > 0).any()


@has_float64
def test_a_coefficient_too_large_for_float32_certifies_nothing():
    start = keras.Input((2,))
    layer, last = Dense(2, dtype="float64"), Dense(2)
    model = keras.Model(start, last(layer(start)))
    layer.set_weights([np.full((2, 2), 1e39), np.zeros(2)])
    last.set_weights([np.zeros((2, 2)), np.array([1.0, 0.0])])
    net, x = Network(model), np.zeros((1, 2), "float32")
    assert not (evaluated(net, x, 0, 0.1, execution=FLOAT32).margins.least > 0).any()
    assert (evaluated(net, x, 0, 0.1).margins.least > 0).all()


def set_to(layer, *weights):
    """A layer and the numbers that its weights are filled with."""

    def build(x):
        out = layer(x)
        layer.set_weights(
            [np.full(w.shape, value) for w, value in zip(layer.weights, weights, strict=True)]
        )
        return out

    return build


def both(*parts):
    def build(x):
        for part in parts:
            x = part(x)
        return x

    return build


#: Layers, an entry of the input, and the weights after them: the logit is near one in real numbers.
VANISHING = {
    "kernel": (lambda: set_to(Dense(1, use_bias=False), 1e-39), 1e10, 1e29),
    "filter": (lambda: set_to(Conv(1, 1, use_bias=False), 1e-39), 1e10, 1e29),
    "bias": (lambda: set_to(Dense(1), 0.0, 8e-39), 0.0, 1e38),
    "scale": (lambda: layers.Rescaling(1e-39), 1e10, 1e29),
    "offset": (lambda: layers.Rescaling(0.0, 8e-39), 1.0, 1e38),
    "threshold": (lambda: set_to(keraslip.layers.ClippedReLU(), 8e-39), 1.0, 1e38),
    "pixel": (lambda: layers.ReLU(), 8e-39, 1e38),
    "difference": (lambda: layers.Normalization(mean=1.2e-38, variance=1e-14), 2e-38, 1e31),
    "scale and kernel": (
        lambda: both(layers.Rescaling(1e-20), set_to(Dense(1, use_bias=False), 1e-20)), 1e20, 1e20,
    ),
    "two scales": (lambda: both(layers.Rescaling(1e-25), layers.Rescaling(1e-20)), 1e30, 1e15),
    "a kernel and channels first": (
        lambda: set_to(Conv(1, 1, use_bias=False, data_format="channels_first"), 1e-39), 1e10, 1e29,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VANISHING)
def test_what_float32_may_take_for_zero_is_counted(name):
    make, entry, weights = VANISHING[name]
    shape = (1, 1, 1) if "filter" in name or "channels" in name else (1,)
    x = np.full((1, *shape), entry, "float32")
    model = ends_in(x, make(), [[weights, 0.0]], (0.0, 0.5))
    net = Network(model)
    exact = forward(net, x)[net.logits.index]
    assert 0.6 < exact[0, 0] < 2.0
    got = evaluated(net, x, 0, 0.0, execution=FLOAT32)
    assert (np.abs(executed(model, x) - exact) <= got.error).all()
    check_rounding(net, x, executed(model, x))  # no lack of precision
    # Where it counts as zero the other logit is larger.
    assert got.error[0, 0] >= exact[0, 0] and not got.margins.least[0] > 0
    # The ideal network knows no smallest number.
    assert evaluated(net, x, 0, 0.0).margins.least[0] > 0.1
    # An input in the ball is multiplied as well.
    if name in ("kernel", "filter", "scale"):
        got = evaluated(net, 0 * x, 1, entry, execution=FLOAT32)
        assert (got.error[0, 0] >= exact[0, 0]).all()


def test_subnormal_coefficients_of_maps_that_a_rule_composes():
    scale = DiagonalMap(tensor([1e-39, 1.0]), (2,))
    kernel = DenseMap(tensor([[1e30, 0.0], [1e-39, 2.0]]), (2,))
    smallest = FLOAT32.smallest
    chain = prove(Composition(kernel, scale)).vanishing(smallest)
    np.testing.assert_allclose(chain.reshape(-1), [1e-9 + 1e-39, 0.0], rtol=1e-4)
    total = prove(Sum((kernel, scale))).vanishing(smallest)
    np.testing.assert_allclose(total.reshape(-1), [2e-39, 0.0], rtol=1e-4)
    assert prove(DenseMap(tensor([[1.0, 0.0]]), (1,))).vanishing(smallest) is None


def dense_of(weights, dtype="float64", activation=True):
    """Dense layers without biases, with ReLU between them."""
    x = start = keras.Input((weights[0].shape[1],), dtype=dtype)
    for k, weight in enumerate(weights):
        layer = Dense(len(weight), use_bias=False, dtype=dtype)
        x = layer(x)
        layer.set_weights([weight.T])
        if activation and k + 1 < len(weights):
            x = layers.ReLU(dtype=dtype)(x)
    return start, x


LARGE = [
    pytest.param(scales, "float64", most, marks=has_float64)
    for scales, most in (
        ([1e-200, 1e200], 1.00001),
        ([1e200, 1e-200], 1.00001),
        ([1e-200, 1e-200, 1e200, 1e200], np.inf),
        (6 * [1e-60] + 6 * [1e60], np.inf),
    )
]
#: As many layers as it takes for float32 weights.
MANY = 9 * [2.0**-120] + 9 * [2.0**120]


@pytest.mark.parametrize("activation", [True, False])
@pytest.mark.parametrize(("scales", "dtype", "most"), [*LARGE, (MANY, "float32", np.inf)])
def test_bounds_do_not_vanish_with_their_products(scales, dtype, most, activation):
    """The network is the identity, where no number is negative."""
    ends = dense_of([scale * np.eye(3) for scale in scales], dtype, activation)
    net, x = Network(keras.Model(*ends)), np.array([[1.0, 2.0, 3.0]])
    for norms in ("global", "dense"):
        hard = evaluated(net, x, 2, 0.8, norms, False, hard=True)
        assert 1.0 <= hard.lipschitz[0] <= most and np.isfinite(hard.lipschitz[0])
        for backwards in (False, True):
            got = evaluated(net, x, 2, 0.8, norms, backwards)
            # The gap of one ends at a distance of one over root two.
            assert not got.margins.least[0] > 0
            assert got.margins.radius[0] <= np.sqrt(0.5)
            assert most == np.inf or got.margins.radius[0] >= 0.49


def test_a_local_lipschitz_constant_does_not_vanish():
    model = keraslip.LocalLipschitzModel(*dense_of([s * np.eye(3) for s in MANY], "float32"))
    for guarantee in ("proved", "probabilistic"):
        assert model.local_lipschitz(np.ones((1, 3), "float32"), 0.1, guarantee)[0] >= 1.0


@has_float64
def test_tiny_rows_beside_large_ones_keep_their_norms():
    """A unit whose weights are tiny is not constant, whatever stands in the other rows and columns."""
    first = np.array([[1.0, 0.0], [0.0, 1e-170]])
    net = Network(keras.Model(*dense_of([first, np.array([[0.0, 1e170], [0.0, 0.0]])])))
    for norms in ("global", "dense"):
        got = evaluated(net, np.array([[1.0, 2.0]]), 0, 0.5, norms)
        assert got.lipschitz[0] >= 1.0
        assert not (got.margins.each[0, 1] > 1.5 * (1 + 1e-9))
    (operator, _) = (node.operator for node in net.nodes if hasattr(node, "operator"))
    columns = np.array([[0.0, 1.0]])
    assert operator.row_norms(columns)[0, 1] >= 1e-170
    assert operator.local_norm(np.array([0.0, 1.0]), np.array([0.0, 1e-160])) > 0


@has_float64
def test_numbers_that_float64_loses_are_no_certificate():
    """The first logit is x in real numbers, and zero in float64; the other one is 0.7."""
    small, large = np.array([[1e-200]]), np.array([[1e200]])
    start, x = dense_of([small, small, large])
    last = Dense(2, dtype="float64")
    net = keras.Model(start, last(x))
    last.set_weights([np.array([[1e200, 0.0]]), np.array([0, 0.7])])
    for label in (0, 1):
        assert not evaluated(Network(net), np.array([[0.9]]), label, 0.0).margins.least[0] > 0
