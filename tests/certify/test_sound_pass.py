"""Sampled points never leave a box, a ball, a Lipschitz bound or a margin of the certifier."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keraslip.certify.bound.margins import margins_of
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import Execution
from keraslip.certify.operators import Proved
from tests.certify.nets import (
    EXACT,
    FLOAT32,
    NETS,
    NORMS,
    ball,
    dense_model,
    evaluated,
    forward,
    inputs,
    network,
    weights_alone,
)
from tests.examples import examples

pytestmark = weights_alone

#: Of the sums that the tests themselves make, in float64.
NOISE = 1e-12
EPSILONS = (0.03, 0.2, 0.8)


def sound_pass(net, x, epsilon, norms="global", hard=False, execution=EXACT):
    x = x.astype("float64")
    radii = np.broadcast_to(np.asarray(epsilon, "float64"), (len(x),))
    return SoundPass(net, x, radii, NORMS[norms], execution, hard)


def flat(values):
    """`(samples, points, *shape)` as `(samples, points, entries)`."""
    return values.reshape(*values.shape[:2], -1)


class Sampled:
    """What a net does at points of the balls around some inputs."""

    def __init__(self, net, x, epsilon, points=None):
        self.points = ball(net, x, epsilon) if points is None else points
        shape = self.points.shape[:2]
        values = forward(net, self.points.reshape(-1, *x.shape[1:]))
        centers = forward(net, x)
        self.moved = {
            i: flat(v.reshape(*shape, *v.shape[1:]) - centers[i][:, None])
            for i, v in values.items()
        }
        self.distance = np.linalg.norm(self.moved[0], axis=2)
        self.logits, self.clean = flat(values[net.logits.index].reshape(*shape, -1)), centers
        self.center = centers[net.logits.index]


def assert_boxes(net, found, sampled):
    for node in net.nodes[1:]:
        if not isinstance(node, ActivationNode):
            reach = found.box(node).reshape(len(found.epsilon), 1, -1)
            excess = np.abs(sampled.moved[node.index]) - reach
            assert excess.max() <= NOISE * (1 + reach.max()), node.name


def assert_balls(found, sampled):
    for index, known in found.balls.items():
        moved = sampled.moved[index]
        for view in known.views:
            columns = np.ones_like(moved[:, :1]) if view.columns is None else view.columns
            columns = columns.reshape(len(moved), 1, -1)
            assert np.abs(moved * (columns == 0)).max() <= NOISE
            inner = np.divide(moved, columns, out=np.zeros_like(moved), where=columns > 0)
            # Up to epsilon the radius is a line in the distance.
            gain, rounding = view.reach.gain[:, None], view.reach.rounding[:, None]
            line = gain * sampled.distance + rounding
            assert (np.linalg.norm(inner, axis=2) <= line * (1 + NOISE) + NOISE).all()


def assert_logits(got, sampled, label):
    moved = np.linalg.norm(sampled.logits - sampled.center[:, None], axis=2)
    allowed = got.lipschitz[:, None] * sampled.distance
    assert (moved <= allowed * (1 + NOISE) + NOISE).all()
    assert_margins(got.margins, sampled, label)


def assert_margins(margins, sampled, label):
    gap = sampled.logits[..., [label]] - sampled.logits
    lines = margins.gain[:, None] * sampled.distance[..., None] + margins.rounding[:, None]
    others = np.arange(gap.shape[2]) != label
    low = (margins.gap[:, None] - lines)[..., others]
    assert (gap[..., others] >= low - NOISE * (1 + np.abs(gap).max())).all()
    least = np.delete(gap, label, axis=2).min(axis=(1, 2))
    assert (least >= margins.least - NOISE * (1 + np.abs(gap).max())).all()


@pytest.fixture(scope="module", params=NETS)
def name(request):
    return request.param


@pytest.fixture(scope="module", params=EPSILONS)
def sampled(request, name):
    net, x = network(name), inputs(name)
    return net, x, request.param, Sampled(net, x, request.param)


@pytest.mark.parametrize("norms", NORMS)
def test_nothing_leaves_its_bound(sampled, norms):
    net, x, epsilon, points = sampled
    found = sound_pass(net, x, epsilon, norms)
    assert_boxes(net, found, points)
    assert_balls(found, points)
    for label in range(net.classes):
        for backwards in (False, True):
            got = evaluated(net, x, label, epsilon, norms, backwards)
            assert_logits(got, points, label)


def test_hard_weights_hold_between_any_two_points(sampled):
    net, x, epsilon, points = sampled
    found = sound_pass(net, x, epsilon, "dense", hard=True)
    assert_boxes(net, found, points)
    assert_balls(found, points)
    got = evaluated(net, x, 0, epsilon, "dense", backwards=False, hard=True)
    assert_logits(got, points, 0)
    order = np.random.default_rng(0).permutation(points.points.shape[1])
    there = flat(points.points)
    moved = np.linalg.norm(points.logits - points.logits[:, order], axis=2)
    apart = np.linalg.norm(there - there[:, order], axis=2)
    assert (moved <= got.lipschitz[:, None] * apart * (1 + NOISE) + NOISE).all()


def test_bounds_are_not_vacuous(name):
    """The attack closes a good part of what the bound allows, somewhere."""
    net, x = network(name), inputs(name)
    points = Sampled(net, x, 0.03)
    reached = points.center[:, :1] - points.center - (points.logits[..., :1] - points.logits).min(1)
    assert (reached[:, 1:] / closed(evaluated(net, x, 0, 0.03, "local"), 0)).max() > 0.15


def test_monotone_relations(name):
    """More expensive bounds are tighter, but for the slack of the proofs: half a per cent."""
    net, x = network(name), inputs(name)
    for epsilon in EPSILONS:
        for label in range(net.classes):
            kinds = [evaluated(net, x, label, epsilon, norms, False) for norms in NORMS]
            hard = evaluated(net, x, label, epsilon, "global", False, hard=True)
            for loose, tight in zip([hard, *kinds], kinds, strict=False):
                assert (tight.lipschitz <= loose.lipschitz * 1.005).all()
                assert (closed(tight, label) <= closed(loose, label) * 1.005 + 1e-12).all()
            for norms, plain in zip(NORMS, kinds, strict=True):
                composite = evaluated(net, x, label, epsilon, norms, True)
                assert (closed(composite, label) <= closed(plain, label) + 1e-12).all()
                np.testing.assert_array_equal(composite.lipschitz, plain.lipschitz)


def closed(got, label):
    """How much of the gap to every other class the ball closes."""
    gap, each = (np.delete(part, label, axis=1) for part in (got.margins.gap, got.margins.each))
    return gap - each


@pytest.mark.parametrize("norms", NORMS)
def test_all_grows_with_epsilon(name, norms):
    net, x = network(name), inputs(name)
    before = None
    for epsilon in (0.0, 0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 3.0):
        found = sound_pass(net, x, epsilon, norms)
        if before is not None:
            for node in net.nodes[1:]:
                if not isinstance(node, ActivationNode):
                    assert (found.box(node) >= before.box(node) * 0.995).all()
            for index, known in found.balls.items():
                for now, then in zip(known.views, before.balls[index].views, strict=True):
                    reach, earlier = now.reach.at(found.epsilon), then.reach.at(before.epsilon)
                    assert (reach >= earlier * 0.995).all()
                if known.slopes is not None:
                    then = before.balls[index].slopes
                    if norms == "global":
                        assert (known.slopes.rows >= then.rows).all()
                        if known.slopes.high is not None:
                            assert (known.slopes.high >= then.high).all()
                            assert (known.slopes.columns >= then.columns).all()
                            assert (known.slopes.low <= then.low)[then.high > 0].all()
        before = found


def test_the_radius_of_a_ball_at_epsilon_zero_is_rounding():
    net, x = network("clipped"), inputs("clipped")
    for execution, allowed in ((EXACT, 1e-13), (FLOAT32, 1e-4)):
        found = sound_pass(net, x, 0.0, execution=execution)
        assert 0 <= found.logits_error.max() <= allowed
        got = evaluated(net, x, 0, 0.0, execution=execution)
        np.testing.assert_allclose(
            got.margins.each[:, 1:], got.margins.gap[:, 1:], rtol=0, atol=allowed
        )


def test_a_small_net_with_many_points():
    """2-4-3 and 1e5 points: nothing leaves, and the bound is within reach."""
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal((4, 2)), rng.standard_normal((3, 4))]
    net = Network(dense_model(weights, [rng.standard_normal(4) * 0.3, rng.standard_normal(3)], 0.8))
    x = rng.uniform(size=(2, 2)).astype("float32")
    angle = rng.uniform(0, 2 * np.pi, 50_000)
    for epsilon in (0.05, 0.3, 1.5):
        size = epsilon * np.where(
            rng.uniform(size=50_000) < 0.5, 1 - 1e-12, rng.uniform(size=50_000)
        )
        d = size[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points = Sampled(net, x, epsilon, x[:, None].astype("float64") + d)
        found = sound_pass(net, x, epsilon, "dense")
        assert_boxes(net, found, points)
        assert_balls(found, points)
        for label in range(3):
            for backwards in (False, True):
                got = evaluated(net, x, label, epsilon, "dense", backwards)
                assert_logits(got, points, label)
        reached = np.linalg.norm(points.logits - points.center[:, None], axis=2).max(axis=1)
        assert epsilon > 0.1 or (reached > 0.5 * got.lipschitz * epsilon).any()


@settings(max_examples=examples(12))
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    theta=st.sampled_from([None, 0.0, 0.2, 1.0]),
    epsilon=st.sampled_from([0.02, 0.2, 1.0, 10.0]),
    scale=st.sampled_from([0.3, 1.0, 3.0]),
)
def test_random_dense_nets(seed, sizes, theta, epsilon, scale):
    rng = np.random.default_rng(seed)
    sizes = [*sizes, 2 + seed % 2]
    shapes = zip(sizes[1:], sizes, strict=False)
    weights = [scale * rng.standard_normal(shape) for shape in shapes]
    model = dense_model(weights, [0.3 * rng.standard_normal(len(w)) for w in weights], theta)
    net, x = Network(model), rng.uniform(-1, 1, (2, sizes[0])).astype("float32")
    points = Sampled(net, x, epsilon, ball(net, x, epsilon, 20))
    for norms in ("global", "dense"):
        found = sound_pass(net, x, epsilon, norms)
        assert_boxes(net, found, points)
        assert_balls(found, points)
        for label in range(net.classes):
            assert_logits(evaluated(net, x, label, epsilon, norms), points, label)


def weaker(monkeypatch, factor):
    """Norms that say less than the truth."""
    for cls in (Proved, *_subclasses(Proved)):
        if "norm" in vars(cls):
            norm = vars(cls)["norm"]
            get = norm.func if hasattr(norm, "func") else norm.fget
            monkeypatch.setattr(cls, "norm", property(lambda self, get=get: factor * get(self)))


def _subclasses(cls):
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


@pytest.mark.parametrize("factor", [0.9, 1 - 1e-4, 1 - 1e-6])
def test_sampling_notices_a_norm_that_is_too_small(factor, monkeypatch):
    """Towards its largest singular direction a linear net moves as far as its norm says."""
    rng = np.random.default_rng(0)
    first, last = rng.standard_normal((5, 4)), rng.standard_normal((3, 5))
    # All units stay inside their clips: the worst direction is that of the product.
    last = np.outer(rng.standard_normal(3), np.linalg.svd(first)[0][:, 0])
    model = dense_model([first, last], [np.full(5, 50.0), np.zeros(3)], 100.0)
    x = np.full((1, 4), 0.5, "float32")
    direction = np.linalg.svd(first)[2][0]
    points = (x + np.array([[0.3], [-0.3]]) * direction * (1 - 1e-12))[None].astype("float64")

    def claimed():
        net = Network(model)  # norms are kept by a network
        return evaluated(net, x, 0, 0.3), Sampled(net, x, 0.3, points)

    got, sampled = claimed()
    assert_logits(got, sampled, 0)
    reached = np.linalg.norm(sampled.logits - sampled.center[:, None], axis=2).max()
    np.testing.assert_allclose(reached, 0.3 * got.lipschitz[0], rtol=1e-5)
    weaker(monkeypatch, factor if factor == 0.9 else factor**20)
    got, sampled = claimed()
    with pytest.raises(AssertionError):
        assert_logits(got, sampled, 0)


def test_a_batch_of_one_and_permuted_batches_agree(name):
    net, x = network(name), inputs(name, 5)
    radii = np.array([0.1, 0.02, 0.3, 0.0, 1.0])
    order = np.array([3, 0, 4, 2, 1])
    for norms in NORMS:
        together = evaluated(net, x, np.arange(5) % 3, radii, norms)
        for permuted in (order, order[:2], *np.arange(5)[:, None]):
            alone = evaluated(net, x[permuted], permuted % 3, radii[permuted], norms)
            for key in ("lipschitz", "logits", "error"):
                left, right = getattr(alone, key), getattr(together, key)[permuted]
                np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12)
            for key in ("gain", "rounding", "least"):
                left = getattr(alone.margins, key)
                right = getattr(together.margins, key)[permuted]
                np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12)


def test_chunks_of_a_pass_agree(monkeypatch):
    from keraslip.certify.bound import evaluate, margins

    net, x = network("mixed"), inputs("mixed", 7)
    whole = evaluated(net, x, 0, 0.3)
    monkeypatch.setattr(evaluate, "_MEMORY", 1)
    monkeypatch.setattr(evaluate, "_PAIRS", 3)
    monkeypatch.setattr(margins, "_CHUNK", 1)
    parts = evaluated(net, x, 0, 0.3)
    np.testing.assert_allclose(parts.margins.each, whole.margins.each, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("exponent", [-66, 66])
@pytest.mark.parametrize("theta", [None, 1.0])
def test_powers_of_two_scale_exactly(exponent, theta):
    rng = np.random.default_rng(1)
    first, last = rng.standard_normal((7, 5)), rng.standard_normal((3, 7))
    x, scale = rng.uniform(size=(4, 5)).astype("float32"), 2.0**exponent
    found = []
    for factor in (1.0, scale):
        model = dense_model([first * factor, last * factor], theta=theta)
        if theta is not None:
            layer = model.layers[2]
            layer.theta.assign(np.full(layer.theta.shape, theta * factor))
        for norms in NORMS:
            got = evaluated(Network(model), x, 0, 0.2, norms)
            found.append((got.lipschitz, got.margins.each[:, 1:], got.logits))
    for one, other in zip(found[:3], found[3:], strict=True):
        for before, after in zip(one, other, strict=True):
            np.testing.assert_array_equal(after, before * scale**2)


def test_tiny_weights():
    rng = np.random.default_rng(1)
    first, last = rng.standard_normal((7, 5)), rng.standard_normal((3, 7))
    x = rng.uniform(size=(4, 5)).astype("float32")
    model = dense_model([first, last], theta=None)
    tiny = dense_model([first * 1e-20, last], theta=None)
    for norms in NORMS:
        before, after = (evaluated(Network(m), x, 0, 0.2, norms) for m in (model, tiny))
        np.testing.assert_allclose(after.lipschitz, before.lipschitz * 1e-20, rtol=1e-6)
        np.testing.assert_allclose(
            after.margins.each[:, 1:], before.margins.each[:, 1:] * 1e-20, rtol=1e-5
        )


def test_dead_layers():
    """No unit can move: nothing closes the gap, at any epsilon."""
    rng = np.random.default_rng(1)
    weights = [
        rng.standard_normal((6, 5)),
        rng.standard_normal((6, 6)),
        rng.standard_normal((3, 6)),
    ]
    bias = np.array([0.0, 1.0, 2.0])
    cases = {
        "theta is 0": dense_model(weights, [np.zeros(6), np.zeros(6), bias], 0.0),
        "far below": dense_model(weights, [np.zeros(6), np.full(6, -1e6), bias], 1.0),
        "far above": dense_model(weights, [np.zeros(6), np.full(6, 1e6), bias], 1.0),
        "no weights": dense_model([w * 0 for w in weights], [np.zeros(6), np.zeros(6), bias], 1.0),
    }
    x = rng.uniform(size=(2, 5)).astype("float32")
    for name, model in cases.items():
        net = Network(model)
        for norms in NORMS:
            for execution in (EXACT, FLOAT32):
                got = evaluated(net, x, 2, 100.0, norms, execution=execution)
                assert (got.lipschitz == 0).all(), name
                assert (got.margins.gain == 0).all(), name
                assert (np.abs(closed(got, 2)) < 1e-5).all(), name


def test_a_center_on_a_kink():
    """Units at exactly 0 and exactly theta, and boxes that end exactly there."""
    eye = np.eye(3)
    model = dense_model([eye, np.array([[1.0, 1.0, 1.0], [0, 0, 0]])], [[0, 0, 0], [0, 1.0]], 1.0)
    net = Network(model)
    x = np.array([[0, 1, 0], [1, 1, 1], [0, 0, 0], [-0.5, 1.5, 0.5]], "float32")
    for epsilon in (0.0, 0.25, 0.5, 1.0, 2.0):
        points = Sampled(net, x, epsilon)
        for label in (0, 1):
            for hard in (False, True):
                got = evaluated(net, x, label, epsilon, "dense", not hard, hard)
                assert_logits(got, points, label)


def test_duplicate_class_columns_never_certify():
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((6, 4)), rng.standard_normal((3, 6))]
    weights[1][2] = weights[1][0]
    net, x = Network(dense_model(weights)), rng.uniform(size=(5, 4)).astype("float32")
    for execution in (EXACT, FLOAT32):
        for epsilon in (0.0, 0.1):
            for label, twin in ((0, 2), (2, 0)):
                got = evaluated(net, x, label, epsilon, "dense", execution=execution)
                assert not (got.margins.each[:, twin] > 0).any()
                assert not (got.margins.least > 0).any()
                assert (got.margins.radius == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["input", "kernel", "last kernel", "bias"])
@pytest.mark.parametrize("theta", [None, 0.0, 1.0])
def test_what_is_not_finite_certifies_nothing(bad, where, theta):
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((6, 4)), rng.standard_normal((3, 6))]
    biases = [np.zeros(6), np.array([0.0, 100.0, 0.0])]
    x = rng.uniform(0.1, 1, (2, 4))
    target = {"input": x, "kernel": weights[0], "last kernel": weights[1]}.get(where)
    if target is None:
        biases[1][0] = bad
    else:
        target[0, 0] = bad
    model = dense_model(weights, biases, theta)
    with np.errstate(all="ignore"):
        net = Network(model)
    rows = slice(0, 1) if where == "input" else slice(None)
    for execution in (EXACT, FLOAT32):
        with np.errstate(all="ignore"):
            got = evaluated(net, x, 1, 0.1, "dense", execution=execution)
            radius, least = got.margins.radius, got.margins.least
        finite = np.isfinite(least) & np.isfinite(got.lipschitz)
        assert not ((least > 0) & finite)[rows].any()
        assert (radius[rows] == 0).all()


def test_units_of_execution_only_add():
    """More rounding gives smaller margins and larger radii."""
    for name in ("clipped", "residual", "clipped maxmin"):
        net, x, before = network(name), inputs(name), None
        for unit in (0.0, 2.0**-40, 2.0**-24, 2.0**-12, 2.0**-9):
            got = evaluated(net, x, 0, 0.1, execution=Execution(unit, 0.0), backwards=False)
            if before is not None:
                assert (got.error > before.error).all()
                assert (got.margins.each[:, 1:] < before.margins.each[:, 1:]).all()
            before = got


def test_margins_of_a_pass_are_those_of_the_evaluation():
    net, x = network("clipped"), inputs("clipped")
    label = np.array([0, 1, 2])
    found = SoundPass(net, x.astype("float64"), np.full(3, 0.1), global_norms, EXACT)
    got = evaluated(net, x, label, 0.1, backwards=False)
    np.testing.assert_allclose(margins_of(found, label).each, got.margins.each, rtol=1e-12)
    assert np.isposinf(got.margins.gap[np.arange(3), label]).all()
