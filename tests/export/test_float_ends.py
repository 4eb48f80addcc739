"""The exported graph at the ends of float, without a process of its own: it is asked before it is written."""

import keras
import numpy as np
import pytest

from keraslip.certify.bound.network import Network
from keraslip.certify.norms.rounding import Execution
from tests.certify.nets import FLOAT32, dense_model, evaluated
from tests.certify.test_float_ends import MANY, OVERFLOWING, VANISHING, dense_of, ends_in
from tests.export.nets import on_tensorflow

pytestmark = on_tensorflow


def asked(net, x, epsilon, logits=None):
    """The graph's answer, with the certifier's own logits for executed ones."""
    import tensorflow as tf

    from keraslip.export.frozen_graph import FrozenGraph

    exact = evaluated(net, x, 0, 0.0).logits if logits is None else logits
    found = FrozenGraph(net)(
        tf.constant(x, tf.float32), tf.constant(epsilon, tf.float32), tf.constant(exact, tf.float32)
    )
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.parametrize("name", OVERFLOWING)
def test_what_overflows_on_the_way_is_not_certified(name):
    make, shape, _, epsilon = OVERFLOWING[name]
    x = np.zeros((1, *shape), "float32")
    net = Network(ends_in(x, make(), 0.0))
    assert not asked(net, x, epsilon)["certified"][0]
    assert asked(net, x, epsilon / 100)["certified"][0]


@pytest.mark.parametrize("name", VANISHING)
def test_what_float32_may_take_for_zero_is_counted(name):
    make, entry, weights = VANISHING[name]
    shape = (1, 1, 1) if "filter" in name or "channels" in name else (1,)
    x = np.full((1, *shape), entry, "float32")
    net = Network(ends_in(x, make(), [[weights, 0.0]], (0.0, 0.5)))
    found = asked(net, x, 0.0)
    assert not found["certified"][0] and found["margin"][0] < 0


@pytest.mark.parametrize("activation", [True, False])
def test_bounds_do_not_vanish_with_their_products(activation):
    net = Network(keras.Model(*dense_of([s * np.eye(3) for s in MANY], "float32", activation)))
    found = asked(net, np.array([[1.0, 2.0, 3.0]], "float32"), 0.8)
    assert found["lipschitz"][0] >= 1.0 and not found["certified"][0]
    tiny = Network(dense_model([1e-30 * np.eye(2), 1e-30 * np.eye(2)]))
    found = asked(tiny, np.ones((1, 2), "float32"), 0.1)
    assert found["lipschitz"][0] > 0 and found["margin"][0] < 0


def test_rows_of_logits_whose_squares_vanish():
    """They differ by 1e-170."""
    import tensorflow as tf

    from keraslip.export.frozen_graph import FrozenPass
    from keraslip.export.graph_arithmetic import Graph

    net = Network(keras.Model(*dense_of([np.array([[1e-170, 0.0], [0.0, 0.0]])])))
    one, x = tf.ones([1], tf.float64), tf.constant([[0.5, 0.0]], tf.float64)

    def margin():
        found = FrozenPass(net, Graph(), Execution.of("float64"), x, one)
        return float(found.margin(tf.zeros([1], tf.int32))[0])

    assert not net.heads[0].plain
    assert margin() == pytest.approx(-0.5e-170, rel=1e-6)
    net.heads[0] = net.heads[0]._replace(plain=True)
    assert margin() > 0


def test_radii_and_inputs_count_as_rounded():
    """Whoever means numbers of float64 sends what float32 makes of them."""
    net, rng = Network(dense_model([np.eye(2)])), np.random.default_rng(0)
    epsilon = rng.uniform(0.5, 1.0, 50)
    x = np.stack([np.sqrt(2.0) * epsilon * 1.0001, 0 * epsilon], axis=1)
    apart = np.linalg.norm(x.astype("float32").astype("float64") - x, axis=1)
    known = evaluated(net, x.astype("float32"), 0, epsilon + apart, execution=FLOAT32)
    found = asked(net, x, epsilon)
    assert (found["margin"] <= known.margins.least).all()
    assert (found["margin"] >= known.margins.least - 1e-6).all() and found["certified"].all()
