import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keraslip.attacks import ball


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 40),
    exponent=st.floats(-9, 3),
    limits=st.sampled_from([(0.0, 1.0), (-1.0, 0.7), (-np.inf, np.inf), (0.0, np.inf)]),
    edge=st.booleans(),
)
def test_projected_points_are_in_ball_and_range(seed, size, exponent, limits, edge):
    low, high = (float(np.float32(limit)) for limit in limits)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(7, size)).astype("float32")
    x = np.clip(np.round(x) if edge else x, low, high).astype("float32")
    epsilon = 10**exponent * rng.uniform(0, 2, 7)
    points = x + rng.normal(size=x.shape) * 10**exponent * rng.uniform(0, 3)
    result = ball.project(points, x, epsilon, low, high)
    assert result.dtype == np.float32
    assert (np.linalg.norm(result.astype("float64") - x, axis=1) <= epsilon).all()
    assert (result >= low).all() and (result <= high).all()


def test_points_inside_stay():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.4, 0.6, (5, 3)).astype("float32")
    points = (x + rng.uniform(-0.1, 0.1, x.shape)).astype("float32")
    result = ball.project(points.astype("float64"), x, np.full(5, 1.0), 0.0, 1.0)
    np.testing.assert_array_equal(result, points)


def test_far_points_reach_the_sphere():
    x = np.full((1, 2), 0.5, "float32")
    result = ball.project(np.array([[9.0, 9.0]]), x, np.array([0.3]), 0.0, 1.0)
    np.testing.assert_allclose(ball.norms(result - x), 0.3, rtol=2e-6)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_uniform_points_fill_the_ball(size):
    radii = ball.norms(ball.uniform((size,), np.arange(4000), 3))
    assert radii.max() <= 1
    for quantile in (0.25, 0.5, 0.75):  # P(radius <= q) = q^size
        assert abs(np.mean(radii <= quantile) - quantile**size) < 0.03


def test_noise_depends_on_the_key_alone():
    together = ball.normal((2, 3), np.array([4, 9, 2]), 7)
    np.testing.assert_array_equal(ball.normal((2, 3), np.array([9]), 7)[0], together[1])


def test_directions_are_unit_and_never_nan():
    gradients = np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 0.0], [1e-30, 0.0]])
    result = ball.directions(gradients.astype("float32"), np.arange(5), 0)
    np.testing.assert_allclose(ball.norms(result), 1)
    np.testing.assert_allclose(result[0], [0.6, 0.8])
    np.testing.assert_allclose(result[4], [1, 0])
