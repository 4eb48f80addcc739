"""Anchored slopes: every claim against many points of the box.

As in a pass, boxes are rounded up: that covers the rounding of a distance to a kink.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keraslip.activations import ClippedReLU, MaxMin
from keraslip.arithmetic import float64
from keraslip.certify.norms.rounding import up
from tests.examples import examples


def clipped_relu(theta):
    return ClippedReLU(theta).to(float64)


def clipped_maxmin(upper, lower, axis=-1):
    return MaxMin(upper, lower, axis).to(float64)


pytestmark = pytest.mark.any_backend("NumPy alone")

#: Of the tests' own differences, relative to the numbers that are subtracted.
NOISE = 1e-15
numbers = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-8, 1e8]), st.floats(-3, 3, allow_subnormal=False)
)
widths = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0, 1e-9, 1e9]), st.floats(0, 4))
thresholds = st.one_of(st.sampled_from([0.0, -0.5, 1.0, np.inf, 1e-9]), st.floats(-1, 3))


def points_of(z, rho, count=200, seed=0):
    """Points `(count, units)` of the box, its corners and its center."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(-1, 1, (count, z.size))
    t[: count // 2] = np.sign(t[: count // 2]) * rng.choice([0, 1e-6, 0.5, 1], (count // 2, z.size))
    t[:2] = [[1], [-1]]
    # Adding rounds: what falls out of the box by that is brought back.
    return np.clip(z + t * rho, z - rho, z + rho)


def relu(z, theta):
    return np.minimum(np.maximum(z, 0.0), theta)


def maxmin(z, upper, lower):
    p, q = np.split(z, 2, axis=-1)
    large, small = np.minimum(np.maximum(p, q), upper), np.maximum(np.minimum(p, q), lower)
    return np.concatenate([large, small], axis=-1)


@settings(max_examples=examples(60))
@given(st.tuples(numbers, widths, thresholds), st.integers(0, 99))
def test_clipped_relu(case, seed):
    check_relu(*(np.array([part]) for part in case), seed)


def check_relu(z, rho, theta, seed=0):
    act = clipped_relu(theta)
    soft, hard = (act.slopes(z[None], up(rho[None]), each) for each in (False, True))
    np.testing.assert_array_equal(act.call(z[None])[0], relu(z, theta))
    there = points_of(z, rho, seed=seed)
    values = relu(there, theta)
    moved, change = np.abs(there - z), np.abs(values - relu(z, theta))
    noise = NOISE * (np.abs(there) + np.abs(z)) + 1e-300
    assert (change <= soft.high * moved + noise).all()
    assert (change >= soft.low * moved - noise).all()
    np.testing.assert_array_equal(soft.rows, soft.high)
    np.testing.assert_array_equal(soft.columns, soft.high > 0)
    between = np.abs(values - values[::-1])
    assert (between <= hard.rows * np.abs(there - there[::-1]) + noise).all()
    assert np.isin(hard.rows, (0, 1)).all()
    assert (soft.high <= hard.rows).all() and (soft.low <= soft.high).all()
    assert ((0 <= soft.low) & (soft.high <= 1)).all()
    constant = (soft.high == 0)[0]
    assert (values[:, constant] == act.call(z[None])[0, constant]).all()


def test_clipped_relu_of_many_units():
    rng = np.random.default_rng(0)
    for seed in range(20):
        z, rho = rng.uniform(-2, 2, 50), rng.exponential(0.7, 50)
        theta = rng.choice([-0.1, 0.0, 0.3, 1.0, np.inf], 50)
        z[:10] = np.where(
            rng.uniform(size=10) < 0.5, 0.0, np.where(np.isinf(theta[:10]), 0, theta[:10])
        )
        rho[::7] = 0.0
        check_relu(z, rho, theta, seed)


def test_slopes_are_not_larger_than_they_must_be():
    """Somewhere on the edge of the box, or at the far kink, the slope is reached."""
    rng = np.random.default_rng(1)
    z, rho, theta = rng.uniform(-2, 2, 400), rng.exponential(0.7, 400), rng.uniform(0, 1.5, 400)
    found = clipped_relu(theta).slopes(z[None], rho[None], False)
    largest, smallest = np.zeros(400), np.full(400, np.inf)
    inside = (z > 0) & (z < theta)
    kinks = [np.clip(k, z - rho, z + rho) for k in (np.zeros(400), theta)]
    for there in (z - rho, z + rho, *kinks):
        moved = np.abs(there - z)
        slope = np.abs(relu(there, theta) - relu(z, theta)) / np.where(moved > 0, moved, np.inf)
        largest = np.maximum(largest, slope)
        smallest = np.minimum(smallest, np.where(moved > 0, slope, np.inf))
    assert (found.high[0] <= np.maximum(largest, inside) + 1e-12).all()
    np.testing.assert_allclose(found.low[0][inside], smallest[inside], atol=1e-12)


def test_the_edges_of_being_constant():
    """A box that ends on the kink is constant, one that crosses it is not."""
    z, theta = np.array([[-0.5, -0.5, 1.5, 1.5, 0.0, 1.0, 0.0]]), np.ones(7)
    rho = np.array([[0.5, np.nextafter(0.5, 1), 0.5, np.nextafter(0.5, 1), 1e-300, 1e-300, 0.0]])
    for hard in (False, True):
        found = clipped_relu(theta).slopes(z, rho, hard)
        np.testing.assert_array_equal(found.rows > 0, [[0, 1, 0, 1, 1, 1, 0]])


@settings(max_examples=examples(60))
@given(
    st.lists(numbers, min_size=2, max_size=2),
    st.lists(widths, min_size=2, max_size=2),
    st.tuples(thresholds, thresholds),
    st.integers(0, 99),
)
def test_clipped_maxmin(z, rho, clips, seed):
    upper, lower = np.array([clips[0]]), np.array([-clips[1]])
    check_maxmin(np.array(z), np.array(rho), upper, lower, seed)


def check_maxmin(z, rho, upper, lower, seed=0):
    act = clipped_maxmin(upper, lower, -1)
    soft, hard = (act.slopes(z[None], up(rho[None]), each) for each in (False, True))
    assert soft.low is None and soft.high is None
    center = maxmin(z, upper, lower)
    np.testing.assert_array_equal(act.call(z[None])[0], center)
    there = points_of(z, rho, seed=seed)
    values = maxmin(there, upper, lower)
    assert_pairs(soft, values - center, there - z, z, there)
    assert_pairs(hard, values - values[::-1], there - there[::-1], z, there)
    for part in ("rows", "columns"):
        weights, coarse = getattr(soft, part), getattr(hard, part)
        assert ((0 <= weights) & (weights <= 1)).all() and np.isin(coarse, (0, 1)).all()
    # What counts is the product of both: how far an output can move.
    assert (soft.rows * soft.columns <= hard.rows * hard.columns * (1 + 1e-12)).all()


def assert_pairs(slopes, change, moved, z, there):
    """`change = diag(columns) g` and `||g|| <= ||diag(rows) moved||` in every pair."""
    columns, rows = slopes.columns[0], slopes.rows[0]
    noise = 4 * NOISE * (np.abs(there).max() + np.abs(z).max()) + 1e-300
    assert (np.abs(change[:, columns == 0]) <= noise).all()
    inner = np.divide(change, columns, out=np.zeros_like(change), where=columns > 0)
    allowed = rows * moved
    for side in (inner, allowed):
        side.shape = (len(side), 2, -1)
    left, right = np.linalg.norm(inner, axis=1), np.linalg.norm(allowed, axis=1)
    small = np.where(columns > 0, columns, 1.0).reshape(2, -1).min(axis=0)
    assert (left <= right * (1 + 1e-12) + noise / small).all()


def test_clipped_maxmin_of_many_pairs():
    rng = np.random.default_rng(0)
    for seed in range(20):
        z, rho = rng.uniform(-2, 2, 40), rng.exponential(0.7, 40)
        upper, lower = rng.choice([0.0, 0.5, np.inf, -0.5], 20), rng.choice([0, -0.5, -np.inf], 20)
        z[:5], rho[::7] = np.where(np.isfinite(upper[:5]), upper[:5], 0.0), 0.0
        check_maxmin(z, rho, upper, lower, seed)


def test_a_pair_that_is_constant_only_on_one_side():
    """The maximum stays beyond its clip: its column is 0, and the row of the pair is not."""
    act = clipped_maxmin(np.array([0.0]), np.array([2.5]), -1)
    # Half of the way is left to the minimum: its weight belongs to the rows.
    found = act.slopes(np.array([[2.0, 1.5]]), np.array([[2.0, 2.0]]), False)
    np.testing.assert_allclose(found.rows, [[0.5, 0.5]], rtol=1e-14)
    np.testing.assert_array_equal(found.columns, [[0.0, 1.0]])


def test_a_pair_of_certain_order_is_two_units():
    """Each output follows its own input: the row of the constant one is 0."""
    act = clipped_maxmin(np.array([1.0]), np.array([-1.0]), -1)
    for z, weights in (([3.0, 0.0], [0.0, 1.0]), ([0.5, -4.0], [1.0, 0.0])):
        found = act.slopes(np.array([z]), np.array([[1.0, 1.0]]), False)
        np.testing.assert_array_equal(found.rows, [weights])
        np.testing.assert_array_equal(found.columns, [weights])
    # The other half first: outputs change places, inputs do not.
    found = act.slopes(np.array([[-4.0, 0.5]]), np.array([[1.0, 1.0]]), False)
    np.testing.assert_array_equal(found.rows, [[0.0, 1.0]])
    np.testing.assert_array_equal(found.columns, [[1.0, 0.0]])
    # Its own box counts, not the larger one of the pair.
    found = act.slopes(np.array([[2.0, -3.0]]), np.array([[1.0, 2.5]]), False)
    np.testing.assert_array_equal(found.rows[0, 0], 0.0)


def test_axis_of_the_pairs():
    z = np.random.default_rng(0).standard_normal((2, 4, 3, 3))
    rho = np.full_like(z, 0.3)
    upper, lower = np.full((1, 2, 3, 3), 0.2), np.full((1, 2, 3, 3), -0.2)
    first = clipped_maxmin(upper, lower, 1).slopes(z, rho, False)
    back = (0, 2, 3, 1)
    last = clipped_maxmin(upper.transpose(back), lower.transpose(back), -1)
    found = last.slopes(z.transpose(back), rho.transpose(back), False)
    for part in ("rows", "columns"):
        np.testing.assert_array_equal(getattr(first, part).transpose(back), getattr(found, part))


@pytest.mark.parametrize("units", [1, 30])
def test_support(units):
    """`c . change` is never below what the support says."""
    rng = np.random.default_rng(units)
    kinds = set()
    for seed in range(60):
        z, rho = rng.uniform(-2, 2, units), rng.exponential(0.8, units)
        theta = rng.choice([-0.1, 0.0, 0.4, 1.0, np.inf], units)
        z[1::6] = np.where(np.isinf(theta[1::6]), 0.0, theta[1::6])
        rho[2::11] = 0.0
        c = rng.standard_normal(units) * (rng.uniform(size=units) < 0.9)
        act = clipped_relu(theta)
        box = z[None], up(rho[None])
        slopes = act.slopes(*box, False)
        s, q = act.support(c[None], *box, slopes)
        there = points_of(z, rho, seed=seed)
        change, moved = relu(there, theta) - relu(z, theta), there - z
        low = c * s * moved - np.abs(c) * q * np.abs(moved)
        assert (c * change >= low - 4 * NOISE * (np.abs(there) + np.abs(z))).all()
        assert ((0 <= s) & (s <= 1) & (q >= 0)).all() and (q <= 0.5 + 1e-12).all()
        crossed = (slopes.high > 0) & (slopes.low < slopes.high)
        kinds |= set((q[0] == 0)[crossed[0]].tolist())
    assert kinds == {True, False}  # tangents and ranges of slopes have both been seen


def test_support_uses_tangents_where_one_kink_is_in_the_box():
    act = clipped_relu(np.array([1.0]))
    for z, c, tangent in (
        (0.1, 1.0, 1.0), (-0.1, 1.0, 0.0), (0.9, -1.0, 1.0), (1.1, -1.0, 0.0),
    ):  # fmt: skip
        box = np.array([[z]]), np.array([[0.3]])
        s, q = act.support(np.array([[c]]), *box, act.slopes(*box, False))
        assert s == tangent and q == 0
        s, q = act.support(np.array([[-c]]), *box, act.slopes(*box, False))
        assert 0 < s < 1 and q > 0
    wide = np.array([[0.5]]), np.array([[2.0]])
    for c in (1.0, -1.0):
        assert act.support(np.array([[c]]), *wide, act.slopes(*wide, False))[1] > 0


def test_maxmin_has_no_support():
    act = clipped_maxmin(np.array([1.0]), np.array([-1.0]), -1)
    box = np.zeros((1, 2)), np.ones((1, 2))
    assert act.support(np.ones((1, 2)), *box, act.slopes(*box, False)) is None


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_varies(bad, hard):
    z = np.array([[0.5, -1.0, 3.0, 0.0]])
    acts = clipped_relu(np.ones(4)), clipped_maxmin(np.full(2, 0.3), np.full(2, -0.3), -1)
    for act in acts:
        rho = np.full((1, 4), bad)
        found = act.slopes(z, rho, hard)
        assert not (found.rows * found.columns == 0).any()
        broken = np.full((1, 4), np.nan)
        found = act.slopes(broken, np.ones((1, 4)), hard)
        assert np.isnan(act.call(broken)).all() and not (found.rows * found.columns == 0).any()
