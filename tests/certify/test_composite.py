"""The composite bound where its value is known, and the rounding of sums that cancel."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import keraslip
from keraslip.certify.bound.composite import composite
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.sound_pass import SoundPass
from tests.certify.nets import (
    EXACT,
    dense_model,
    evaluated,
    forward,
    inputs,
    network,
    weights_alone,
)

pytestmark = weights_alone


def passed(net, x, epsilon):
    return SoundPass(net, x.astype("float64"), np.full(len(x), epsilon), global_norms, EXACT)


def bound_of(net, x, epsilon, label, rival):
    """The composite bound of some pairs of classes, one for each sample."""
    found = passed(net, x, epsilon)
    n = len(x)
    pairs = [np.broadcast_to(np.asarray(each), n) for each in (label, rival)]
    return composite(found, np.arange(n), *pairs), found


def test_units_that_all_stay_inside_give_the_product_of_matrices():
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape) for shape in ((6, 4), (5, 6), (3, 5))]
    net = Network(dense_model(weights, [np.full(6, 50.0), np.full(5, 300.0), np.zeros(3)], 1e4))
    x = rng.uniform(size=(2, 4)).astype("float32")
    found, _ = bound_of(net, x, 0.5, 0, [1, 2])
    weights = [w.astype("float32").astype("float64") for w in weights]
    product = weights[2] @ weights[1] @ weights[0]
    true = np.linalg.norm(product[0] - product[[1, 2]], axis=1)
    assert (true <= found.gain).all()
    np.testing.assert_allclose(found.gain, true, rtol=1e-8)
    # The product of norms is far above it.
    plain = evaluated(net, x, 0, 0.5, "local", backwards=False).margins.gain
    assert (plain[[0, 1], [1, 2]] > 1.3 * true).all()


def test_dead_units_are_left_out():
    weights = [np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 5.0], [0.0, 0.0]])]
    net = Network(dense_model(weights, [np.array([3.0, -3.0]), np.zeros(2)], 100.0))
    found, _ = bound_of(net, np.zeros((1, 2), "float32"), 0.5, 0, 1)
    np.testing.assert_allclose(found.gain, 1.0, rtol=1e-9)


def test_one_unit_across_its_kink():
    """The hidden unit opens half of the way; it can only help the label, or only hurt it."""
    weights = [np.array([[1.0]]), np.array([[1.0], [0.0]])]
    net = Network(dense_model(weights, [np.array([-0.125]), np.array([0.0, 0.0])], None))
    x = np.zeros((1, 1), "float32")
    # From a closed unit the label's logit cannot fall: the tangent says so.
    helps, _ = bound_of(net, x, 0.25, 0, 1)
    assert helps.gain[0] <= 1e-9
    # The rival's can rise by 0.125, half of the distance.
    hurts, _ = bound_of(net, x, 0.25, 1, 0)
    np.testing.assert_allclose(hurts.gain[0] * 0.25, 0.125, rtol=1e-9)


@pytest.mark.parametrize(
    "name", ["clipped", "residual", "mixed", "skip", "means", "clipped maxmin"]
)
def test_never_worse_than_stopping_at_once(name):
    net, x = network(name), inputs(name)
    gains = []
    for epsilon in (0.02, 0.1, 0.5):
        plain = evaluated(net, x, 0, epsilon, backwards=False).margins
        for rival in (1, 2):
            found, _ = bound_of(net, x, epsilon, 0, rival)
            line = plain.gain[:, rival] * epsilon + plain.rounding[:, rival]
            assert (found.at(np.full(3, epsilon)) <= line * (1 + 1e-8) + 1e-13).all()
            gains += list(found.gain / plain.gain[:, rival])
    assert min(gains) < 0.95  # and better somewhere


def test_only_open_classes_are_carried_back(monkeypatch):
    from keraslip.certify.bound import evaluate

    seen = []

    def counted(found, rows, label, rival):
        seen.append(len(rows))
        return composite(found, rows, label, rival)

    monkeypatch.setattr(evaluate, "composite", counted)
    net, x = network("clipped"), inputs("clipped")
    evaluated(net, x, 0, 1e-9)
    closed = sum(seen)
    evaluated(net, x, 0, 50.0)
    assert sum(seen) - closed == 3 * 2 >= closed


def test_nan_in_a_pass_gives_no_bound():
    net, x = network("clipped"), inputs("clipped").astype("float64")
    x[1, 0] = np.nan
    with np.errstate(all="ignore"):
        found, _ = bound_of(net, x, 0.1, 0, 1)
        assert np.isfinite(found.gain[[0, 2]]).all()
        assert not np.isfinite(found.at(np.full(3, 0.1))[1])


def test_rows_of_the_logits_that_cancel():
    """Two linear layers whose product cancels in float64: 2^60 + 1 - 2^60 is computed as 0."""
    large = 2.0**60
    start = keras.Input((1,))
    first, last = layers.Dense(3, use_bias=False), layers.Dense(2)
    model = keraslip.LocalLipschitzModel(start, last(first(start)))
    first.set_weights([np.array([[large, 1.0, large]])])
    last.set_weights([np.array([[1.0, 0], [1.0, 0], [-1.0, 0]]), np.array([2000.0, 0])])
    net, x = Network(model), np.zeros((1, 1), "float32")
    for backwards in (False, True):
        got = evaluated(net, x, 0, 1e5, "dense", backwards)
        # The true gap is 2000 + x.
        assert got.margins.gain[0, 1] >= 1.0
        assert not got.margins.least > 0


@functools.cache
def branches_that_cancel():
    """Units with large, small and minus large weight read one ball, and the sum of their slopes."""
    large, small, branches = 2.0**60, 60.0, 8  # the spacing below is 128
    start = keras.Input((1,))
    x = layers.ReLU()(layers.Dense(1, name="ball")(start))
    tops = [layers.ReLU()(layers.Dense(1, name=f"branch_{k}")(x)) for k in range(branches + 2)]
    logits = layers.Dense(2, name="logits")(layers.Add()(tops))
    model = keraslip.LocalLipschitzModel(start, logits)
    # Signs come last: every branch is the same sum of one row.
    model.get_layer("ball").set_weights([np.ones((1, 1)), np.full(1, 10.0)])
    slopes = [large, *[small] * branches, -large]
    for k, slope in enumerate(slopes):
        bias = np.full(1, 0.0 if slope > 0 else 40.0 * large)
        model.get_layer(f"branch_{k}").set_weights([np.full((1, 1), slope), bias])
    model.get_layer("logits").set_weights([np.array([[1.0, 0.0]]), np.zeros(2)])
    return Network(model), small * branches


def test_merged_branches_that_cancel():
    """Coefficients that meet at one ball: a large one hides the small ones until it is taken back."""
    net, truth = branches_that_cancel()
    at = np.zeros((1, 1), "float32")
    found, _ = bound_of(net, at, 1.0, 0, 1)
    assert found.gain[0] + found.rounding[0] >= truth


def test_the_pass_back_is_the_gradient_where_nothing_bends():
    """In a stable region the bound is the norm of the true gradient, skips and moves included."""
    start = keras.Input((4, 4, 1))
    x = layers.ReLU()(layers.Conv2D(2, 3, padding="same", name="one")(start))
    y = layers.Conv2D(2, 3, padding="same", name="two")(x)
    z = layers.AveragePooling2D(2)(layers.ReLU()(x + y))
    logits = layers.Dense(2, name="logits")(layers.Flatten()(z))
    model = keraslip.LocalLipschitzModel(start, logits)
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        kernel = rng.standard_normal(model.get_layer(name).kernel.shape)
        model.get_layer(name).set_weights([kernel, np.full(2, 500.0 if name == "two" else 50.0)])
    net = Network(model)
    x = rng.uniform(size=(1, 4, 4, 1)).astype("float32")
    found, _ = bound_of(net, x, 0.5, 0, 1)
    basis = 1e-3 * np.eye(16).reshape(16, 4, 4, 1)
    ahead, behind = (forward(net, x + s * basis)[net.logits.index] for s in (1, -1))
    slope = ((ahead - behind) / 2e-3) @ np.array([1.0, -1.0])
    np.testing.assert_allclose(found.gain[0], np.linalg.norm(slope), rtol=1e-6)
