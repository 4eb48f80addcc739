"""Boxes by the composite bound: they hold, they are narrower, and without a term they do not hold."""

import functools

import numpy as np
import pytest

from keraslip.certify.bound import composite, tight_pass
from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.bound.tight_pass import HopefulPass, TightPass
from keraslip.certify.norms.rounding import Execution
from keraslip.certify.run.radius import certified_radius, widened
from tests.certify.nets import (
    EXACT,
    FLOAT32,
    attacked,
    dense_model,
    forward,
    inputs,
    network,
    weights_alone,
)
from tests.certify.test_comparing import KINDS, UNITS, disk, random_net
from tests.certify.test_dropped_terms import BOTH, CARRIED, COUNT, mutated, ups
from tests.certify.test_rounding import emulated

pytestmark = weights_alone
ANY = functools.partial(TightPass, most=np.inf)


def passed(net, x, epsilon, kind=ANY, execution=EXACT):
    radii = np.broadcast_to(np.asarray(epsilon, "float64"), len(x))
    return kind(net, x.astype("float64"), radii, global_norms, execution, False)


def moves(net, x, points):
    """How far entries of steps are from the center at points `(samples, points, ...)`, signed and flat."""
    found, at = forward(net, points.reshape(-1, *x.shape[1:])), forward(net, x.astype("float64"))
    size = points.shape[:2]
    return {
        k: v.reshape(*size, -1) - at[k].reshape(size[0], 1, -1) for k, v in found.items() if k > 0
    }


@pytest.mark.parametrize("kind", [*UNITS, *KINDS])
def test_no_point_of_a_ball_is_outside(kind):
    net, narrower = random_net(kind, 3), []
    x = np.random.default_rng(0).uniform(size=(4, 2)).astype("float32")
    for epsilon, share in ((0.003, 1.0), (0.05, 0.3), (0.05, 1.0), (0.4, 0.3), (0.4, 1.0)):
        tight, plain = passed(net, x, epsilon), passed(net, x, epsilon, SoundPass)
        moved = moves(net, x, disk(x, share * epsilon))
        for node in net.activations.values():
            source, flat = node.sources[0], moved[node.sources[0].index]
            box, before, *line = (
                part.reshape(4, -1)
                for part in (tight.box(source), plain.box(source), *tight.box_line(source))
            )
            claims = [(np.abs(flat), (*line, box))]
            narrower.append((box <= 0.8 * before).any())
            how = node.activation.comparisons(node.shape)
            for pair in (key[1:] for key in tight.nearer if key[0] == node.index):
                first, second = how.groups.T[list(pair)]
                claims.append(
                    (np.abs(flat[..., first] - flat[..., second]), tight.nearer[node.index, *pair])
                )
                narrower.append(np.isfinite(claims[-1][1]).any())
            for far, (gain, rounding, at) in claims:
                assert (far.max(axis=1) <= at + 1e-12).all()
                assert (far.max(axis=1) <= share * epsilon * gain + rounding + 1e-12).all()
            assert (box <= before * (1 + 1e-9)).all()
    assert any(narrower)


@pytest.mark.parametrize("name", ["clipped", "residual", "mixed", "skip", "clipped maxmin"])
@pytest.mark.parametrize("execution", [EXACT, FLOAT32])
def test_margins_hold_and_are_no_worse(name, execution):
    net, x = network(name), inputs(name)
    evaluate, n = Evaluator(net, execution), len(x)
    label = forward(net, x)[net.logits.index].argmax(axis=1)
    for epsilon in (0.02, 0.3):
        plain, tight = (
            evaluate(x, label, np.full(n, epsilon), backwards=True, kind=kind).margins
            for kind in (SoundPass, ANY)
        )
        points = attacked(net, x, epsilon)
        logits = forward(net, points.reshape(-1, *x.shape[1:]))[net.logits.index]
        logits = logits.reshape(n, -1, net.classes)
        gaps = np.take_along_axis(logits, label[:, None, None], axis=2) - logits
        others = np.arange(net.classes) != label[:, None]
        assert (gaps.min(axis=1)[others] >= tight.each[others] - 1e-9).all()
        size = np.abs(plain.each[others]) + 1.0
        assert (tight.each[others] >= plain.each[others] - 1e-8 * size).all()


def test_three_layers_gain_most():
    net = random_net("maxmin", 3, 6)
    x = np.random.default_rng(0).uniform(size=(8, 6)).astype("float32")
    pairs = np.arange(8), np.zeros(8, int), np.ones(8, int)
    plain, tight = (
        composite.composite(passed(net, x, 0.1, kind), *pairs).gain for kind in (SoundPass, ANY)
    )
    assert np.median(tight / plain) < 0.8


def test_a_sample_does_not_depend_on_the_others():
    net = random_net("clipped", 3, 6)
    x = np.random.default_rng(0).uniform(size=(3, 6)).astype("float32")
    for kind in (TightPass, HopefulPass):
        together = passed(net, x, 0.2, functools.partial(kind, most=3e5))
        for k in range(3):
            alone = passed(net, x[k : k + 1], 0.2, functools.partial(kind, most=3e5))
            for node in net.activations.values():
                box = together.box(node.sources[0])[k]
                np.testing.assert_allclose(alone.box(node.sources[0])[0], box, rtol=1e-9)


def test_what_takes_too_many_operations_is_left_as_it_is(monkeypatch):
    net = random_net("relu", 3, 6)
    x = np.random.default_rng(0).uniform(size=(2, 6)).astype("float32")
    rows = []
    entries = composite.entries_reach

    def counted(found, node, sample, places):
        rows.append(places.shape[1])
        return entries(found, node, sample, places)

    monkeypatch.setattr(tight_pass, "entries_reach", counted)
    passed(net, x, 0.2, functools.partial(TightPass, most=0.0))
    assert not rows
    # Neither the first activation nor units that are certain.
    passed(net, x, 1e-9)
    assert sum(rows) <= 1
    rows.clear()
    passed(net, x, 0.2, functools.partial(HopefulPass, most=np.inf))
    assert 0 < max(rows) <= 6


def test_nan_and_overflow_certify_nothing():
    net, x = random_net("relu", 3, 6), np.full((3, 6), 0.5, "float32")
    x[1, 0] = np.nan
    evaluate = Evaluator(net, FLOAT32)
    for kind in (ANY, functools.partial(HopefulPass, most=np.inf)):
        got = evaluate(x, np.zeros(3, int), np.array([0.0, 0.1, 1e300]), backwards=True, kind=kind)
        assert not (got.margins.least > 0)[1:].any()


@pytest.mark.parametrize("kind", ["relu", "maxmin", "tanh"])
def test_radii_grow_and_hold(kind):
    net, x = random_net(kind, 3), np.random.default_rng(1).uniform(size=(6, 2)).astype("float32")
    label = forward(net, x)[net.logits.index].argmax(axis=1)
    evaluate = Evaluator(net, EXACT)

    def bound(kind, backwards=True):
        def margins(epsilon, rows):
            return evaluate(x[rows], label[rows], epsilon, backwards=backwards, kind=kind).margins

        return margins

    before = certified_radius(np.full(6, 0.05), bound(None, False), bound(None))
    found = widened(before, bound(ANY))
    assert (found >= before).all() and (found > 1.1 * before).any()
    for share in (0.3, 1.0):
        assert (bound(ANY)(share * (1 - 1e-9) * found, np.arange(6)).least > 0.0).all()
        points = np.concatenate([disk(x[[k]], share * found[k]) for k in range(6)])
        logits = forward(net, points.reshape(-1, 2))[net.logits.index].reshape(6, -1, 3)
        assert (logits.argmax(axis=2) == label[:, None]).all()


# --- Without a term a box does not hold ----------------------------------------------------------------


def opens():
    """At its kink: the next unit can rise with it, and not fall."""
    weights = [np.array([[1.0]]), np.array([[1.0]]), np.array([[0.0], [1.0]])]
    bias = [np.zeros(1), np.array([0.0]), np.zeros(2)]
    return Network(dense_model(weights, bias, None)), np.zeros((1, 1), "float32")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.concatenate([c, -c])", "np.concatenate([c, c])"),
        ("reshape(2, -1).max(axis=0)", "reshape(2, -1).min(axis=0)"),
    ],
)
def test_both_directions_count(old, new):
    net, x = opens()
    found, node = passed(net, x, 0.5, SoundPass), list(net.activations.values())[1]
    places = np.array([[0]])
    assert composite.entries_reach(found, node, 0, places).at(found.epsilon)[0] >= 0.5
    without = mutated(composite, (old, new))
    assert without.entries_reach(found, node, 0, places).at(found.epsilon)[0] < 0.5


@pytest.mark.parametrize("bits", [8, 11])
def test_rounding_of_the_entry_itself(bits):
    """A unit behind another activation is closed, and opens by what its sum rounds."""
    closed = 1.5 * COUNT * 2.0**-bits
    weights = [np.eye(COUNT + 1), np.ones((1, COUNT + 1)), np.array([[-1.0], [0.0]])]
    bias = [np.zeros(COUNT + 1), np.array([-1.0 - closed]), np.zeros(2)]
    net, x = Network(dense_model(weights, bias, None)), ups(bits)[None]
    execution = Execution(2.0**-bits, 0.0)
    exact, executed = forward(net, x), emulated(net, x, bits)[0]
    node = list(net.activations.values())[1]
    moved = -executed[0] - exact[node.sources[0].index][0, 0]
    assert exact[net.logits.index][0, 0] == 0.0 > executed[0]

    def reach(module):
        found = passed(net, x, 0.0, SoundPass, execution)
        return module.entries_reach(found, node, 0, np.array([[0]])).at(found.epsilon)[0]

    # What the activation before carries would cover it.
    alone = (CARRIED, "rest"), (BOTH, "0.0 * errors[pairs, label]")
    assert moved <= reach(mutated(composite, *alone)) <= reach(composite)
    own = "inner(size, self.found.errors[source.index][self.samples])"
    assert not moved <= reach(mutated(composite, *alone, (own, "0.0 * inner(size, size)")))


# --- The stage ----------------------------------------------------------------------------------------


@functools.cache
def staged():
    """A plain network, and an epsilon at which narrower boxes decide."""
    rng = np.random.default_rng(4)
    weights = [rng.standard_normal(shape) / 2 for shape in ((16, 6), (16, 16), (16, 16), (3, 16))]
    made = dense_model(weights, [0.3 * rng.standard_normal(len(w)) for w in weights], None)
    x = rng.uniform(size=(24, 6)).astype("float32")
    return made, x, 0.13


def test_the_stage_settles_what_the_others_leave(tmp_path, monkeypatch):
    from keraslip.certify import check
    from keraslip.certify.run import cascade

    monkeypatch.setenv("KERASLIP_VIOLATIONS", str(tmp_path))
    made, x, epsilon = staged()
    found = made.certify(x, epsilon=epsilon, verbose=False)
    frozen = made.certify(x, epsilon=epsilon, verbose=False, effort="frozen")
    assert "boxes" in found.status and "boxes" not in frozen.status
    found.save(tmp_path / "found.npz", model=made, x=x, samples=len(x))
    steps, claims = check.read(str(tmp_path / "found.npz"))
    confirmed, unsure, wrong = check.check(steps, claims, 20)
    assert (confirmed, unsure, wrong) == (found.certified.sum(), 0, 0)
    monkeypatch.setattr(cascade.Cascade, "_boxes", lambda *_: None)
    without = made.certify(x, epsilon=epsilon, verbose=False)
    boxes = found.status == "boxes"
    assert (without.status[boxes] == "unknown").all()
    assert (without.status[~boxes] == found.status[~boxes]).all()
    assert (found.margin >= without.margin).all() and (found.lipschitz <= without.lipschitz).all()


def test_a_guess_certifies_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("KERASLIP_VIOLATIONS", str(tmp_path))
    made, x, epsilon = staged()
    found = made.certify(x, epsilon=epsilon, verbose=False)
    # Boxes of zero would certify everything.
    monkeypatch.setattr(tight_pass, "_HOPE", 0.0)
    hopeful = made.certify(x, epsilon=epsilon, verbose=False)
    assert (hopeful.status == found.status).all() and "unknown" in found.status
