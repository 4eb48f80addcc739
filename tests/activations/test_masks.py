"""Hard slopes, as training masks by them: constant units never move, dropped rows do not count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keraslip.activations import ClippedReLU, MaxMin
from tests.examples import examples
from tests.harness import numpy, tensor


def box_of(seed, n=8, spread=1.0, grid=False):
    """A center with a box around it; on a grid, so that ties and touching ends occur, if asked."""
    r = np.random.default_rng(seed)
    z, below, above = (
        r.normal(size=(1, n)),
        r.exponential(spread, (1, n)),
        r.exponential(spread, (1, n)),
    )
    if grid:
        z, below, above = (np.round(v * 2) / 2 for v in (z, below, above))
    return (v.astype("float32") for v in (z, z - below, z + above))


def masks(act, lower, upper):
    """Weights of rows and columns on a box, which is given by its ends."""
    middle, reach = tensor((lower + upper) / 2), tensor((upper - lower) / 2)
    found = act.kept(middle, reach)
    return numpy(found.rows), numpy(found.columns)


def box(act, lower, upper):
    return (numpy(side) for side in act.range(tensor(lower), tensor(upper)))


def penalty(act, lower, upper):
    return numpy(act.sparsity(tensor(lower), tensor(upper)))


def points(z, lower, upper, count=400, seed=1):
    """Points of the box, corners included, `(count, n)`."""
    r = np.random.default_rng(seed)
    share = r.uniform(size=(count, z.shape[1]))
    share[: count // 2] = np.round(share[: count // 2])
    return np.clip(lower + share * (upper - lower), lower, upper).astype("float32")


@settings(max_examples=examples(40))
@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.0, 0.2, 1.0]),
    limit=st.sampled_from([None, 0.0, 0.5, 2.0, -1.0]),
    grid=st.booleans(),
)
def test_clipped_relu(seed, spread, limit, grid):
    z, lower, upper = box_of(seed, spread=spread, grid=grid)
    theta = None if limit is None else np.full((1, 8), limit, "float32")
    act = ClippedReLU(None if theta is None else tensor(theta))
    rows, mask = masks(act, lower, upper)
    np.testing.assert_array_equal(rows, mask)
    assert set(np.unique(mask)) <= {0.0, 1.0}
    inside = points(z, lower, upper)
    out = np.minimum(np.maximum(inside, 0), np.inf if limit is None else limit)
    np.testing.assert_array_equal(numpy(act.call(tensor(inside))), out)
    assert (out * (1 - mask) == numpy(act.call(tensor(z))) * (1 - mask)).all()
    low, high = box(act, lower, upper)
    assert (out >= low).all() and (out <= high).all()
    # Exactly those that can move; in a box of no width a linear unit still counts as one.
    wide = lower < upper
    np.testing.assert_array_equal(mask[wide], (low != high)[wide])
    reach = np.maximum(upper, 0).mean()
    if limit is not None:
        reach = reach + 0.1 * np.maximum(theta - lower, 0).mean()
    np.testing.assert_allclose(penalty(act, lower, upper), [reach], rtol=1e-5)


@settings(max_examples=examples(60))
@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.0, 0.1, 0.4, 1.0]),
    clip=st.sampled_from([None, -0.5, 0.0, 0.5]),
    floor=st.sampled_from([None, -0.5, 0.0, 0.5]),
    grid=st.booleans(),
)
def test_clipped_maxmin(seed, spread, clip, floor, grid):
    z, lower, upper = box_of(seed, spread=spread, grid=grid)
    thresholds = tuple(None if v is None else tensor(np.full((1, 4), v)) for v in (clip, floor))
    act = MaxMin(*thresholds, axis=1)
    inside = points(z, lower, upper)
    out = numpy(act.call(tensor(inside)))
    p, q = np.split(inside, 2, axis=1)
    largest = np.minimum(np.maximum(p, q), np.inf if clip is None else clip)
    smallest = np.maximum(np.minimum(p, q), -np.inf if floor is None else floor)
    np.testing.assert_array_equal(out, np.concatenate([largest, smallest], axis=1))
    rows, mask = masks(act, lower, upper)
    center = numpy(act.call(tensor(z)))
    assert (out * (1 - mask) == center * (1 - mask)).all()
    low, high = box(act, lower, upper)
    assert (out >= low).all() and (out <= high).all()
    assert act.masks == (clip is not None or floor is not None) and not act.is_elementwise
    if not act.masks:
        assert (mask == 1).all() and (penalty(act, lower, upper) == 0).all()
    # The change of the output is no longer than the change of the inputs whose rows are kept.
    change = np.linalg.norm(out - center, axis=1)
    kept = np.linalg.norm((inside - z) * rows, axis=1)
    assert (change <= kept * (1 + 1e-5) + 1e-6).all()
    if clip is not None and floor is not None:
        low_max = np.maximum(*np.split(lower, 2, axis=1))
        high_min = np.minimum(*np.split(upper, 2, axis=1))
        expected = np.maximum(clip - low_max, 0).mean() + np.maximum(high_min - floor, 0).mean()
        np.testing.assert_allclose(penalty(act, lower, upper), [expected], rtol=1e-5)


@pytest.mark.parametrize("act", [ClippedReLU(), ClippedReLU(1.0), MaxMin(1.0, None, 1)])
def test_nan_counts_as_varying(act):
    nan = tensor([[np.nan, np.nan]])
    found = act.kept(nan, nan)
    assert (numpy(found.columns) == 1).all() and (numpy(found.rows) == 1).all()


def test_a_linear_unit_counts_in_a_ball_of_radius_zero():
    """Training begins with epsilon zero: the norms of the units that are on must be known by then."""
    z, none = tensor([[0.5, -0.5, 1.5, 0.0]]), tensor(np.zeros((1, 4)))
    found = ClippedReLU(1.0).kept(z, none)
    np.testing.assert_array_equal(numpy(found.rows), [[1, 0, 0, 0]])
