"""Graphs: residual sums bounded as one map, nested and shared layers, random nets."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

import keraslip
from keraslip.rules import BOUNDS
from keraslip.rules.walk import visits
from tests.cases import (
    CASES,
    FLAT,
    IMAGE,
    ClippedMaxMin,
    ClippedReLU,
    nested_twice,
    residual,
    shared,
    three_branches,
)
from tests.examples import examples
from tests.harness import assert_tighter, bound, model_of, numpy, run_rule_test


def conv(filters=2, size=3, **kwargs):
    return layers.Conv2D(filters, size, padding="same", **kwargs)


def test_sequential_model_alone():
    model = keras.Sequential([keras.Input(FLAT), layers.Dense(6), ClippedReLU(), layers.Dense(3)])
    x = np.random.default_rng(0).uniform(size=(2, *FLAT)).astype("float32")
    result = bound(model, x, 0.1)
    np.testing.assert_allclose(result.logits, model.predict_on_batch(x), rtol=1e-5, atol=1e-6)


def norm_of(build, shape=FLAT, kernel=None):
    """Bound of a linear graph of one input."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers.Flatten()(build(inputs)))
    if kernel is not None:
        for weight in model.trainable_weights:
            weight.assign(kernel if weight.name == "kernel" else np.zeros(weight.shape))
    return bound(model, np.zeros((1, *shape), "float32"), 0.1).lipschitz[0]


def test_sums_of_one_ball_are_one_map():
    np.testing.assert_allclose(norm_of(lambda x: x + x), 2.0, rtol=1e-5)
    np.testing.assert_allclose(norm_of(lambda x: layers.Add()([x, x, x])), 3.0, rtol=1e-5)
    minus = -np.eye(6)
    assert norm_of(lambda x: x + layers.Dense(6)(x), kernel=minus) < 1e-6
    np.testing.assert_allclose(
        norm_of(lambda x: layers.Add()([x, layers.Dense(6)(x), x]), kernel=minus), 1
    )
    image = np.zeros((3, 3, 2, 2))
    image[1, 1] = -np.eye(2)
    assert norm_of(lambda x: x + conv()(x), IMAGE, image) < 1e-6
    image[1, 1] = np.eye(2)
    np.testing.assert_allclose(norm_of(lambda x: x + conv()(x), IMAGE, image), 2.0, rtol=1e-5)
    # Also when a constant is added on the way.
    assert norm_of(lambda x: (x + 3.0) + layers.Dense(6)(x + 1.0), kernel=minus) < 1e-6


def test_linear_layers_without_activation_are_one_map():
    r = np.random.default_rng(0)
    turn, _ = np.linalg.qr(r.normal(size=(6, 6)))
    scale = np.diag([10.0, 1, 1, 1, 1, 0.1])
    inputs = keras.Input(FLAT)
    outputs = layers.Dense(6, use_bias=False)(layers.Dense(6, use_bias=False)(inputs))
    model = keras.Model(inputs, outputs)
    model.set_weights([scale, np.linalg.inv(scale) @ turn])
    result = bound(model, np.zeros((1, 6), "float32"), 0.1)
    np.testing.assert_allclose(result.lipschitz, 1.0, rtol=1e-4)


def test_every_call_of_a_layer_has_a_path_of_its_own():
    paths = [visit.path for visit in visits(model_of(nested_twice, FLAT))]
    assert len(paths) == len(set(paths))
    model = model_of(shared, FLAT)
    result = bound(model, np.zeros((1, 6), "float32"), 0.1, power_iterations=3)
    keys = [layer.key for layer in result.layers]
    assert keys == ["act", "act:2"]


@pytest.mark.parametrize("add", [lambda x, y: x + y, lambda x, y: layers.Add()([y, x])])
def test_a_sum_that_broadcasts_adds_maps(add):
    inputs = keras.Input((6,))
    model = keras.Model(inputs, add(-inputs, 3 * ops.mean(inputs, 1, keepdims=True)))
    matrix = np.full((6, 6), 0.5) - np.eye(6)
    result = bound(model, np.zeros((1, 6), "float32"), 0.1)
    np.testing.assert_allclose(result.lipschitz, np.linalg.norm(matrix, 2), rtol=1e-4)


def test_a_constant_that_enlarges_is_refused():
    inputs = keras.Input((4, 1))
    model = keras.Model(inputs, inputs + ops.ones((4, 3)))
    with pytest.raises(NotImplementedError, match="Received: "):
        bound(model, np.zeros((1, 4, 1), "float32"), 0.1)


def test_a_model_with_its_own_call_is_no_graph():
    """A functional model whose subclass computes something else must not be walked."""

    class Doubled(keras.Model):
        def call(self, x):
            return 2.0 * super().call(x)

    inputs = keras.Input(FLAT)
    inner = Doubled(inputs, layers.Dense(5)(inputs))
    outer = keras.Input(FLAT)
    model = keraslip.LocalLipschitzModel(outer, layers.Dense(3)(inner(outer)))
    assert [visit.problem is None for visit in visits(model)].count(False) == 1
    with pytest.raises(NotImplementedError, match="Doubled"):
        bound(model, np.zeros((1, 6), "float32"), 0.1)


layer_kinds = st.sampled_from(["conv", "pool", "pad", "residual", "act", "pair", "relu", "permute"])


@settings(max_examples=examples(8))
@given(
    kinds=st.lists(layer_kinds, min_size=2, max_size=4),
    size=st.tuples(st.integers(5, 7), st.integers(5, 7)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.integers(1, 2),
    padding=st.sampled_from(["same", "valid"]),
    seed=st.integers(0, 1000),
    log_epsilon=st.integers(-4, 1),
)
def test_random_nets(kinds, size, kernel, strides, padding, seed, log_epsilon):
    def build(x):
        x = ClippedMaxMin(0.5, -0.5)(layers.Conv2D(4, kernel, strides=strides, padding=padding)(x))
        for kind in kinds:
            if kind == "conv":
                x = layers.Conv2D(4, kernel, padding="same", groups=2)(x)
            elif kind == "pool":
                x = layers.AveragePooling2D(2, strides=strides, padding="same")(x)
            elif kind == "pad":
                x = layers.ZeroPadding2D(((1, 0), (0, 1)))(x)
            elif kind == "residual":
                x = x + layers.Conv2D(4, 3, padding="same")(x)
            elif kind == "act":
                x = ClippedReLU(0.5)(x)
            elif kind == "pair":
                x = ClippedMaxMin(0.4, -0.4)(x)
            elif kind == "relu":
                x = ops.relu(x)
            else:
                x = layers.Permute((2, 1, 3))(x)
        return x

    model = model_of(build, (*size, 1), seed=seed)
    run_rule_test(
        model,
        (*size, 1),
        epsilons=(10.0**log_epsilon,),
        modes=("local", "paper"),
        count=60,
        seed=seed,
    )


@settings(max_examples=examples(8))
@given(
    scale=st.sampled_from([2.0**-40, 1e-3, 1.0, 1e3, 2.0**40]),
    seed=st.integers(0, 1000),
    epsilon=st.sampled_from([0.0, 1e-6, 0.1, 1e3]),
)
def test_extreme_weights_and_radii(scale, seed, epsilon):
    model = model_of(lambda x: ClippedMaxMin()(layers.Dense(6)(ops.relu(layers.Dense(8)(x)))), FLAT)
    for weight in model.trainable_weights[:2]:
        weight.assign(numpy(weight) * scale)
    run_rule_test(
        model, FLAT, epsilons=(epsilon,), modes=("local", "paper", "global"), count=60, seed=seed
    )


def test_local_is_tighter_than_global_and_nested_in_epsilon():
    epsilons = [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0, 10.0]
    for name, mode in [(n, m) for n in ("residual", "different balls") for m in ("local", "paper")]:
        shape = CASES[name].shape
        model = model_of(CASES[name].build, shape, seed=3)
        x = np.random.default_rng(5).uniform(size=(8, *shape)).astype("float32")
        passes = [bound(model, x, epsilon, mode) for epsilon in epsilons]
        for epsilon, small, large in zip(epsilons[1:], passes, passes[1:], strict=False):
            for a, b in zip(small.masks, large.masks, strict=True):
                assert (a <= b).all()
            for a, b in zip(small.gains, large.gains, strict=True):
                assert (a <= b * (1 + 1e-4) + 1e-7).all()
            assert (small.lipschitz <= large.lipschitz * (1 + 1e-4) + 1e-7).all()
            assert (small.margin >= large.margin - 1e-4 * (1 + np.abs(large.margin))).all()
            assert_tighter(large, bound(model, x, epsilon, "global"))
        np.testing.assert_allclose(passes[0].worst, passes[0].logits, rtol=1e-5, atol=1e-5)


def test_power_iterations_reach_the_singular_values():
    # Of the residual net `estimate` reaches the other two, below.
    for name, modes in (("residual", ["paper"]), ("different balls", ["local", "global"])):
        shape = CASES[name].shape
        model = model_of(CASES[name].build, shape, seed=3)
        x = np.random.default_rng(5).uniform(size=(3, *shape)).astype("float32")
        for mode in modes:
            exact, found = (
                bound(model, x, 0.2, mode),
                bound(model, x, 0.2, mode, power_iterations=200),
            )
            for a, b in zip(exact.gains, found.gains, strict=True):
                np.testing.assert_allclose(b, a, rtol=5e-3)
            np.testing.assert_allclose(found.lipschitz, exact.lipschitz, rtol=5e-3)
            np.testing.assert_allclose(found.worst, exact.worst, rtol=5e-3, atol=5e-3)


def test_estimate_is_the_converged_bound():
    model = model_of(residual, IMAGE, seed=3)
    x = np.random.default_rng(5).uniform(size=(3, *IMAGE)).astype("float32")
    for mode in ("local", "global"):
        found = model.estimate(x, epsilon=0.2, bound=mode, power_iterations=60)
        exact = bound(model, x, 0.2, mode)
        np.testing.assert_allclose(found.lipschitz, exact.lipschitz, rtol=5e-3)
        np.testing.assert_allclose(found.margin, exact.margin, rtol=5e-3, atol=5e-3)
        np.testing.assert_array_equal(found.label, exact.label)


def test_epsilon_of_every_sample():
    model = model_of(three_branches, FLAT)
    x = np.random.default_rng(5).uniform(size=(3, *FLAT)).astype("float32")
    together = bound(model, x, [0.05, 0.1, 0.3])
    for s, epsilon in enumerate((0.05, 0.1, 0.3)):
        alone = bound(model, x, epsilon)
        np.testing.assert_allclose(together.worst[s], alone.worst[s], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(together.masks[0][s], alone.masks[0][s])


@pytest.mark.parametrize("act", [layers.ReLU, ClippedReLU, ClippedMaxMin])
def test_weights_that_are_not_finite_certify_nothing(act):
    # One net for all weights, so that its passes are compiled once.
    model = model_of(lambda x: act()(layers.Dense(8)(act()(layers.Dense(8)(x)))), FLAT)
    model.get_layer("logits_of_test").bias.assign([0.0, 90.0, 0.0])
    x = np.random.default_rng(5).uniform(0.1, 1, size=(3, *FLAT)).astype("float32")

    def margins():
        return [bound(model, x, 0.1, mode, power_iterations=2).margin for mode in BOUNDS]

    # The bias alone certifies, as long as every number is finite.
    assert all((margin > 0).all() for margin in margins())
    kernels = [w for w in model.trainable_weights if w.name == "kernel"]
    assert len(kernels) == 3
    for kernel in kernels:
        good = numpy(kernel)
        for bad in (np.nan, np.inf):
            broken = good.copy()
            broken[0, 0] = bad
            kernel.assign(broken)
            for mode, margin in zip(BOUNDS, margins(), strict=True):
                assert not (margin > 0).any(), (kernel.path, bad, mode)
        kernel.assign(good)
