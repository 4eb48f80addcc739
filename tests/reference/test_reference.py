"""The reference itself: hand-worked nets, and thousands of points that must not leave a bound."""

import keras
import numpy as np
import pytest
from scipy.optimize import minimize

from .paper_numpy import (
    channel_halves,
    forward,
    local_numpy,
    materialise,
    maximum_over_ball_and_box,
    paper_numpy,
    points_in_ball,
    spectral_norm,
)

pytestmark = pytest.mark.any_backend("NumPy alone")

KINDS = {
    "relu": lambda rng, n: ("relu",),
    "clipped_relu": lambda rng, n: ("clipped_relu", rng.uniform(0, 0.6, n)),
    "maxmin": lambda rng, n: ("maxmin",),
    "clipped_maxmin": lambda rng, n: (
        ("clipped_maxmin", rng.uniform(-0.2, 0.5, n // 2), rng.uniform(-0.5, 0.2, n // 2))
    ),
    "channel_pairs": lambda rng, n: ("clipped_maxmin", 0.1, -0.1, *channel_halves((n // 4, 4))),
    "linear": lambda rng, n: ("linear",),
}
BOUNDS = {
    "paper": lambda *net: paper_numpy(*net),
    "paper, all options": lambda *net: paper_numpy(
        *net, masked_rows=True, drop_rows=True, exact=True
    ),
    "local": lambda *net: local_numpy(*net),
    "local, no options": lambda *net: local_numpy(
        *net, masked_rows=False, drop_rows=False, exact=False
    ),
}


def random_net(kind, widths=(7, 12, 8, 12, 4), seed=0):
    rng = np.random.default_rng(seed)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = [rng.normal(size=shape) / np.sqrt(shape[1]) for shape in shapes]
    biases = [0.3 * rng.normal(size=shape[0]) for shape in shapes]
    return weights, biases, [KINDS[kind](rng, n) for n in widths[1:-1]]


def inputs(samples=3, size=7, seed=1):
    return np.random.default_rng(seed).uniform(size=(samples, size))


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epsilon", [0.03, 0.2, 1.0])
def test_no_point_of_the_ball_leaves_a_bound(kind, bound, epsilon):
    net, x = random_net(kind), inputs()
    result = BOUNDS[bound](*net, x, epsilon)
    slack = 1e-9
    for s in range(len(x)):
        clean = forward(*net, x[s : s + 1])
        trace = forward(*net, points_in_ball(x[s], epsilon, 1000, seed=s))
        for i in range(len(net[2])):
            before, after = trace[2 * i], trace[2 * i + 1]
            for values, (lower, upper) in (
                (before, result["pre_boxes"][i]),
                (after, result["post_boxes"][i]),
            ):
                assert (values >= lower[s] - slack).all() and (values <= upper[s] + slack).all()
            moved = after - clean[2 * i + 1]
            assert np.linalg.norm(moved, axis=1).max() <= result["radii"][i][s] + slack
            assert np.abs(moved[:, ~result["masks"][i][s]]).max(initial=0) <= slack
        label = result["label"][s]
        gain = (trace[-1] - trace[-1][:, [label]]) - (clean[-1] - clean[-1][:, [label]])
        allowed = {
            name: result[name][s] - result["logits"][s] for name in result if "worst" in name
        }
        for name, reach in allowed.items():
            assert (gain.max(axis=0) <= reach + slack).all(), name
        change = np.linalg.norm(trace[-1] - clean[-1], axis=1).max()
        assert change <= epsilon * result["lipschitz"][s] + slack


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_the_bounds(kind):
    net, x = random_net(kind, seed=3), inputs()
    for epsilon in (0.05, 0.5):
        paper, local = paper_numpy(*net, x, epsilon), local_numpy(*net, x, epsilon)
        tight = paper_numpy(*net, x, epsilon, exact=True)
        for result in (paper, local):
            assert (result["worst"] <= result["worst_ball"] + 1e-12).all()
            assert (result["worst_ball"] <= result["worst_global"] + 1e-12).all()
            for radius, whole in zip(result["radii"], result["global_radii"], strict=True):
                assert (radius <= whole + 1e-12).all()
        assert (tight["worst"] <= paper["worst"] + 1e-12).all()
        np.testing.assert_allclose(paper["worst_global"], local["worst_global"])


def test_some_units_are_constant_when_the_ball_is_small():
    for kind in ("relu", "clipped_relu", "clipped_maxmin", "channel_pairs"):
        for bound in BOUNDS.values():
            masks = bound(*random_net(kind), inputs(), 0.05)["masks"]
            assert 0 < np.mean(np.concatenate(masks, axis=1)) < 1


def test_worked_by_hand():
    """Two units: the first dead at -1, the second active at 1; epsilon 0.5; W = 2 I."""
    weights, biases = [2 * np.eye(2), np.array([[1.0, 1.0], [3.0, 0.0]])], [np.array([-2.5, 0.0])]
    net = weights, [*biases, np.zeros(2)], [("relu",)]
    x = np.array([[0.5, 1.0]])  # pre-activations -1.5 and 2, box +-1
    for result in (paper_numpy(*net, x, 0.5), local_numpy(*net, x, 0.5)):
        np.testing.assert_allclose(result["pre_boxes"][0][0], [[-2.5, 1.0]])
        np.testing.assert_allclose(result["pre_boxes"][0][1], [[-0.5, 3.0]])
        np.testing.assert_array_equal(result["masks"][0], [[False, True]])
        np.testing.assert_allclose(result["radii"][0], 1.0)
        np.testing.assert_allclose(result["logits"], [[2.0, 0.0]])
        # Only unit 2 moves, by 1, and w_1 - w_0 = (2, -1) there: class 1 gains 1.
        np.testing.assert_allclose(result["worst"], [[2.0, 1.0]])
        np.testing.assert_allclose(result["margin"], 1.0)
        np.testing.assert_allclose(result["worst_global"], [[2.0, np.sqrt(5)]])


def test_clipped_units_are_constant_beyond_their_thresholds():
    net = [np.eye(2), np.eye(2)], [np.zeros(2), np.zeros(2)], [("clipped_maxmin", 0.5, -0.5)]
    x = np.array([[1.0, -1.0], [1.0, 0.0], [0.0, 0.0]])
    result = local_numpy(*net, x, 0.25)
    np.testing.assert_array_equal(result["masks"][0], [[False, False], [False, True], [True, True]])
    np.testing.assert_array_equal(result["rows"][0], [[False, False], [False, True], [True, True]])
    np.testing.assert_allclose(result["lipschitz"], [0, 1, 1])
    assert (paper_numpy(*net, x, 0.25)["rows"][0]).all()


@pytest.mark.parametrize(
    "x, rows, norm",
    [
        ([0.5, 1.0], [True, True], 2.0),  # (1, 1): either may be the minimum, which moves
        ([0.1, 5.0], [True, False], 2.0),  # (0.2, 5): the first surely is the minimum
        ([2.5, 0.2], [False, True], 1.0),  # (5, 0.2): the second surely is the minimum
    ],
)
def test_maxmin_drops_the_row_of_a_constant_maximum(x, rows, norm):
    kind = ("clipped_maxmin", 0.0, -9.0)
    net = [np.diag([2.0, 1.0]), np.eye(2)], [np.zeros(2), np.zeros(2)], [kind]
    result = local_numpy(*net, np.array([x]), 0.1)
    np.testing.assert_array_equal(result["masks"][0], [[False, True]])
    np.testing.assert_array_equal(result["rows"][0], [rows])
    np.testing.assert_allclose(result["norms"][0], norm)
    moved = forward(*net, np.array([x, [x[0] - 0.1, x[1]], [x[0], x[1] - 0.1]]))[1]
    np.testing.assert_allclose(np.abs(moved[1:] - moved[0]).max(), 0.1 * norm)


def test_maximum_over_ball_and_box_agrees_with_a_solver():
    rng = np.random.default_rng(0)
    for _ in range(20):
        slope = rng.normal(size=6) * (rng.uniform(size=6) < 0.8)
        lower, upper = -rng.uniform(size=6), rng.uniform(size=6) * (rng.uniform(size=6) < 0.8)
        radius = rng.uniform(0.1, 1.5)
        found = minimize(
            lambda d, slope=slope: -slope @ d,
            np.zeros(6),
            jac=lambda d, slope=slope: -slope,
            bounds=list(zip(lower, upper, strict=True)),
            constraints={
                "type": "ineq",
                "fun": lambda d, radius=radius: radius**2 - d @ d,
                "jac": lambda d: -2 * d,
            },
            options={"ftol": 1e-14, "maxiter": 500},
        )
        result = maximum_over_ball_and_box(slope, radius, lower, upper)
        np.testing.assert_allclose(result, -found.fun, rtol=1e-6, atol=1e-8)
        assert result >= -found.fun - 1e-7


@pytest.mark.parametrize("radius", [0.0, 1e-9, 1.0, 1e9])
def test_maximum_over_ball_and_box_at_the_edges(radius):
    box = -np.ones(3), np.ones(3)
    assert maximum_over_ball_and_box(np.zeros(3), radius, *box) == 0
    slope = np.array([3.0, 0.0, -4.0])
    expected = min(5 * radius, 7.0)
    np.testing.assert_allclose(maximum_over_ball_and_box(slope, radius, *box), expected)


def test_zero_epsilon_certifies_the_clean_margin():
    net, x = random_net("clipped_relu"), inputs()
    for bound in BOUNDS.values():
        result = bound(*net, x, 0.0)
        np.testing.assert_allclose(result["worst"], result["logits"])
        assert (result["margin"] > 0).all()


def test_labels_and_epsilons_per_sample():
    net, x = random_net("maxmin"), inputs()
    together = local_numpy(*net, x, [0.1, 0.2, 0.3], [3, 1, 0])
    for s in range(3):
        alone = local_numpy(*net, x[s : s + 1], 0.1 * (s + 1), [[3, 1, 0][s]])
        np.testing.assert_allclose(together["worst"][s], alone["worst"][0])
        np.testing.assert_array_equal(together["masks"][1][s], alone["masks"][1][0])


def test_materialised_convolution_is_the_convolution():
    layer = keras.layers.Conv2D(3, 3, strides=2, padding="same", bias_initializer="ones")
    layer.build((None, 5, 6, 2))
    matrix, bias = materialise(layer, (5, 6, 2))
    x = np.random.default_rng(0).normal(size=(4, 5, 6, 2)).astype("float32")
    expected = keras.ops.convert_to_numpy(layer(x)).reshape(4, -1)
    np.testing.assert_allclose(x.reshape(4, -1) @ matrix.T + bias, expected, atol=1e-5)
    np.testing.assert_array_equal(bias, 1)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.bias), 1)
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    assert set(np.unique(matrix)) <= {0.0, *kernel.astype("float64").ravel()}  # exact entries


def test_materialised_function():
    matrix, bias = materialise(lambda v: 2 * v[:, ::-1] + 1, (3,))
    np.testing.assert_array_equal(matrix, 2 * np.eye(3)[::-1])
    np.testing.assert_array_equal(bias, np.ones(3))
    assert spectral_norm(np.zeros((0, 3))) == 0
