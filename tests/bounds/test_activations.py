"""Activations on boxes: constant units never move, boxes hold, dropped rows do not count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keraslip.bounds.activations import (
    clipped_maxmin,
    clipped_maxmin_bounds,
    clipped_relu,
    clipped_relu_bounds,
)
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
    known = clipped_relu_bounds(
        tensor(z), tensor(lower), tensor(upper), None if theta is None else tensor(theta)
    )
    for mask in (known.varying, known.rows, known.paper_rows):
        np.testing.assert_array_equal(numpy(mask), numpy(known.varying))
    mask = numpy(known.varying)
    assert set(np.unique(mask)) <= {0.0, 1.0}
    inside = points(z, lower, upper)
    out = np.minimum(np.maximum(inside, 0), np.inf if limit is None else limit)
    found = numpy(clipped_relu(tensor(inside), None if theta is None else tensor(theta)))
    np.testing.assert_array_equal(found, out)
    assert (out * (1 - mask) == numpy(known.center) * (1 - mask)).all()
    low, high = (numpy(side) for side in known.box())
    assert (out >= low).all() and (out <= high).all()
    # Exactly those that can move; in a box of no width a linear unit still counts as one.
    wide = lower < upper
    np.testing.assert_array_equal(mask[wide], (low != high)[wide])
    reach = np.maximum(upper, 0).mean()
    if limit is not None:
        reach = reach + 0.1 * np.maximum(theta - lower, 0).mean()
    np.testing.assert_allclose(numpy(known.penalty()), [reach], rtol=1e-5)


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
    known = clipped_maxmin_bounds(tensor(z), tensor(lower), tensor(upper), thresholds, axis=1)
    inside = points(z, lower, upper)
    out = numpy(clipped_maxmin(tensor(inside), *thresholds, axis=1))
    p, q = np.split(inside, 2, axis=1)
    largest = np.minimum(np.maximum(p, q), np.inf if clip is None else clip)
    smallest = np.maximum(np.minimum(p, q), -np.inf if floor is None else floor)
    np.testing.assert_array_equal(out, np.concatenate([largest, smallest], axis=1))
    mask, center = numpy(known.varying), numpy(known.center)
    assert (out * (1 - mask) == center * (1 - mask)).all()
    low, high = (numpy(side) for side in known.box())
    assert (out >= low).all() and (out <= high).all()
    assert known.paper_rows is None
    if clip is None and floor is None:
        assert known.rows is None and (mask == 1).all()
        assert (numpy(known.penalty()) == 0).all()
    rows = np.ones((1, 8)) if known.rows is None else numpy(known.rows)
    # The change of the output is no longer than the change of the inputs whose rows are kept.
    change = np.linalg.norm(out - center, axis=1)
    kept = np.linalg.norm((inside - z) * rows, axis=1)
    assert (change <= kept * (1 + 1e-5) + 1e-6).all()
    if clip is not None and floor is not None:
        low_max = np.maximum(*np.split(lower, 2, axis=1))
        high_min = np.minimum(*np.split(upper, 2, axis=1))
        penalty = np.maximum(clip - low_max, 0).mean() + np.maximum(high_min - floor, 0).mean()
        np.testing.assert_allclose(numpy(known.penalty()), [penalty], rtol=1e-5)


def test_pairs_along_the_first_axis_of_an_image():
    z = np.random.default_rng(0).normal(size=(2, 4, 3, 3)).astype("float32")
    first = clipped_maxmin_bounds(tensor(z), tensor(z - 0.1), tensor(z + 0.1), (0.3, -0.3), 1)
    moved = np.moveaxis(z, 1, -1)
    last = clipped_maxmin_bounds(
        tensor(moved), tensor(moved - 0.1), tensor(moved + 0.1), (0.3, -0.3), 3
    )
    for name in ("center", "varying", "rows"):
        np.testing.assert_array_equal(
            np.moveaxis(numpy(getattr(first, name)), 1, -1), numpy(getattr(last, name))
        )


@pytest.mark.parametrize("threshold", [None, 1.0])
def test_nan_counts_as_varying(threshold):
    nan = tensor([[np.nan, np.nan]])
    assert (numpy(clipped_relu_bounds(nan, nan, nan, threshold).varying) == 1).all()
    known = clipped_maxmin_bounds(nan, nan, nan, (threshold, threshold), 1)
    assert (numpy(known.varying) == 1).all()
    assert known.rows is None or (numpy(known.rows) == 1).all()
