"""Worst-case logits against the true supremum over ball and box."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keraslip.bounds.ball import AffineForm, Ball
from keraslip.bounds.margins import label_margin, worst_case_logits
from keraslip.linear import DenseMap
from tests.examples import examples
from tests.harness import at_once, gradient, numpy, tensor
from tests.reference.paper_numpy import maximum_over_ball_and_box, maximum_over_box


def problem(seed=0, n=6, classes=4, share=0.7, gain=0.8, spread=1.0):
    """A center, a last layer and a ball with mask and box, in float64."""
    r = np.random.default_rng(seed)
    mask = (r.uniform(size=n) < share).astype("float64")
    below, above = (spread * r.uniform(size=n) * mask for _ in range(2))
    return {
        "kernel": r.normal(size=(n, classes)),
        "center": r.normal(size=n),
        "bias": r.normal(size=classes),
        "gain": gain,
        "mask": mask,
        "changes": (-below, above),
    }


def form_of(p, box=True, mask=True):
    center = tensor(p["center"][None])
    lower, upper = (tensor((p["center"] + side)[None]) for side in p["changes"])
    ball = Ball(
        center,
        ops.reshape(tensor(p["gain"]), (1,)),
        tensor(p["mask"][None]) if mask else None,
        (lambda: (lower, upper)) if box else None,
    )
    linear_map = DenseMap(tensor(p["kernel"]), (len(p["center"]),))
    logits = linear_map.forward(center) + tensor(p["bias"])
    return AffineForm.closed(ball).mapped(logits, linear_map)


@functools.cache
def gains_of(**kwargs):
    """What a problem, a label's row and a radius give, as tensors."""

    def found(p, y, epsilon):
        form = form_of(p, **kwargs)
        return worst_case_logits(form, y, epsilon) - form.center

    return at_once(found)


def gains(p, label, epsilon, **kwargs):
    given = {name: keras.tree.map_structure(tensor, value) for name, value in p.items()}
    y = tensor(np.eye(p["kernel"].shape[1])[[label]])
    return numpy(gains_of(**kwargs)(given, y, tensor(epsilon)))[0]


def true_gains(p, label, epsilon):
    """(exact, ball, box) for every class."""
    rows = p["kernel"].T
    slopes = (rows - rows[label]) * p["mask"]
    radius = epsilon * p["gain"]
    exact = [maximum_over_ball_and_box(g, radius, *p["changes"]) for g in slopes]
    box = [maximum_over_box(g, *p["changes"]) for g in slopes]
    return np.array(exact), radius * np.linalg.norm(slopes, axis=1), np.array(box)


@settings(max_examples=examples(60))
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 12),
    classes=st.integers(2, 5),
    share=st.floats(0, 1),
    gain=st.floats(0.01, 10),
    spread=st.floats(0, 3),
    epsilon=st.sampled_from([0.0, 1e-6, 0.1, 1.0, 100.0]),
)
def test_between_the_supremum_and_the_smaller_bound(seed, n, classes, share, gain, spread, epsilon):
    p = problem(seed, n, classes, share, gain, spread)
    label = seed % classes
    found = gains(p, label, epsilon)
    exact, ball, box = true_gains(p, label, epsilon)
    slack = 2e-6 * (1 + np.abs(p["kernel"]).sum() * (1 + np.abs(p["center"]).max()))
    assert (found >= exact * (1 - 1e-6) - slack).all()
    assert (found <= np.minimum(ball, box) * (1 + 1e-5) + slack).all()
    assert found[label] == 0.0


def test_the_intersection_is_nearly_exact():
    """Four steps of the search come within some per cent; neither ball nor box alone does."""
    excess, saved = [], []
    for seed in range(60):
        p = problem(seed, n=30, gain=1.0, spread=0.4)
        found, (exact, ball, box) = gains(p, 0, 1.0)[1:], (v[1:] for v in true_gains(p, 0, 1.0))
        excess += list(found / exact - 1)
        saved += list(np.minimum(ball, box) / exact - 1)
    assert np.mean(excess) < 0.01 and np.max(excess) < 0.06
    assert np.mean(excess) < 0.2 * np.mean(saved)


def test_no_sampled_point_exceeds_it():
    r = np.random.default_rng(0)
    for seed in range(10):
        p = problem(seed)
        d = r.normal(size=(4000, 6))
        d *= p["gain"] * 0.5 / np.linalg.norm(d, axis=1, keepdims=True)
        d = np.clip(d, *p["changes"]) * p["mask"]
        change = d @ p["kernel"]
        assert ((change - change[:, :1]).max(axis=0) <= gains(p, 0, 0.5) + 1e-5).all()


def test_without_box_or_mask_it_is_the_ball():
    p = problem()
    rows = p["kernel"].T
    slopes = rows - rows[2]
    np.testing.assert_allclose(
        gains(p, 2, 0.3, box=False),
        0.3 * 0.8 * np.linalg.norm(slopes * p["mask"], axis=1),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        gains(p, 2, 0.3, box=False, mask=False), 0.24 * np.linalg.norm(slopes, axis=1), rtol=1e-5
    )


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e4, 1e12])
def test_scale_of_the_weights(scale):
    p = problem(3)
    expected = gains(p, 1, 0.5)
    scaled = {**p, "kernel": p["kernel"] * scale, "bias": p["bias"] * scale}
    assert (gains(scaled, 1, 0.5) >= true_gains(scaled, 1, 0.5)[0] * (1 - 1e-5)).all()
    np.testing.assert_allclose(gains(scaled, 1, 0.5) / scale, expected, rtol=0.1, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-25, 1e-10, 1e10, 1e25])
@pytest.mark.parametrize("epsilon", [0.0, 1e-20, 1.0, 1e20])
def test_the_search_gives_no_nan(scale, epsilon):
    for zero in (False, True):
        p = problem(4)
        p["kernel"] = p["kernel"] * (0.0 if zero else scale)
        p["bias"] = p["bias"] * scale
        found = gains(p, 1, epsilon)
        exact, _, box = true_gains(p, 1, epsilon)
        assert not np.isnan(found).any()
        assert (found >= exact * (1 - 1e-5) - 1e-6 * scale).all()
        assert (found <= box * (1 + 1e-5) + 1e-6 * scale).all()
        y = tensor(np.eye(4)[[1]])
        for of in (epsilon, 0.0):
            slope = gradient(
                lambda k, p=p, y=y, of=of: ops.sum(
                    worst_case_logits(_with_kernel(p, k), y, tensor(of))
                ),
                p["kernel"],
            )
            assert np.isfinite(slope).all()


def _with_kernel(p, kernel):
    form = form_of(p)
    ball = form.terms[0][0]
    linear_map = DenseMap(kernel, (len(p["center"]),))
    return AffineForm.closed(ball).mapped(linear_map.forward(ball.center), linear_map)


def test_gradient_to_the_radius_and_the_box():
    p = problem(5)

    def total(gain):
        form = form_of({**p, "gain": 0.0})
        ball, linear_map = form.terms[0]
        moved = Ball(ball.center, ops.reshape(gain, (1,)), ball.varying, ball.box)
        form = AffineForm.closed(moved).mapped(form.center, linear_map)
        return ops.sum(worst_case_logits(form, tensor(np.eye(4)[[0]]), tensor(0.5)))

    slope = gradient(total, np.array([0.4]))
    step = 1e-2
    up, down = (float(numpy(total(tensor([0.4 + s])))) for s in (step, -step))
    np.testing.assert_allclose(slope[0], (up - down) / (2 * step), rtol=0.1)
    assert slope[0] > 0


def test_several_terms_add_up():
    p, q = problem(1), problem(2)
    one, other = form_of(p), form_of(q)
    y, epsilon = tensor(np.eye(4)[[0]]), tensor(0.3)
    both = AffineForm(one.center + other.center, one.terms + other.terms)
    found = numpy(worst_case_logits(both, y, epsilon) - both.center)
    expected = gains(p, 0, 0.3) + gains(q, 0, 0.3)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-5)


def test_epsilon_and_label_of_every_sample():
    p = problem(1)
    form = form_of(p)
    ball, linear_map = form.terms[0]
    twice = Ball(
        ops.concatenate([ball.center] * 3), tensor([p["gain"]] * 3),
        ops.concatenate([ball.varying] * 3),
        lambda: tuple(ops.concatenate([side] * 3) for side in ball.box()),
    )  # fmt: skip
    center = ops.concatenate([form.center] * 3)
    form = AffineForm.closed(twice).mapped(center, linear_map)
    y = tensor(np.eye(4)[[0, 1, 1]])
    found = numpy(worst_case_logits(form, y, tensor([0.1, 0.1, 0.5])) - center)
    for row, (label, epsilon) in zip(found, [(0, 0.1), (1, 0.1), (1, 0.5)], strict=True):
        np.testing.assert_allclose(row, gains(p, label, epsilon), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("where", ["gain", "kernel", "center", "changes"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_certifies_nothing(where, bad):
    p = problem(1, share=1.0)
    p["bias"][1] += 100.0  # a margin that only a NaN can lose
    if where == "gain":
        p["gain"] = bad
        p["changes"] = (np.full(6, -np.inf), np.full(6, np.inf))
    elif where == "changes":
        p["gain"], p["changes"] = np.nan, (np.full(6, bad), np.full(6, bad))
    else:
        p[where] = p[where].copy()
        p[where][0] = bad
    form = form_of(p)
    y = tensor(np.eye(4)[[1]])
    worst = worst_case_logits(form, y, tensor(0.1))
    margin = numpy(label_margin(form.center, worst, y))
    assert not (margin > 0).any() and np.isnan(margin).all()


def test_nan_gain_beats_a_finite_box():
    """A box that clipping made finite must not certify a sample whose radius is unknown."""
    p = problem(1, share=1.0)
    p["bias"][1] += 100.0
    p["gain"] = np.nan
    assert np.isnan(gains(p, 1, 0.1)[[0, 2, 3]]).all()


def test_label_margin():
    logits = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 0.0], [np.inf, 0, 0], [1, np.nan, 0], [2, 1, 0]])
    worst = np.array([[3.0, 1.5, 2.5], [1.0, 1.0, 0.0], [np.inf, 0, 0], [1, 0, 0], [2, 1, -np.inf]])
    y = np.eye(3)[[0, 0, 0, 0, 0]]
    margin = numpy(label_margin(tensor(logits), tensor(worst), tensor(y)))
    np.testing.assert_allclose(margin[:2], [0.5, 0.0])  # a tie certifies nothing
    assert np.isnan(margin[2:]).all() and not (margin[1:] > 0).any()
