"""Certified radii: never beyond the truth, and near to it where the truth is known."""

import numpy as np
import pytest

from keraslip.certify.bound.margins import Margins
from keraslip.certify.bound.network import Network
from keraslip.certify.run.radius import FEW, TOLERANCE, certified_radius, widened
from tests.certify.nets import (
    EXACT,
    FLOAT32,
    NETS,
    attacked,
    dense_model,
    evaluated,
    forward,
    inputs,
    network,
    weights_alone,
)

pytestmark = weights_alone


def radii(net, x, label, start, execution=EXACT, thorough="dense"):
    """Radii by the search that `certify` makes, from any first epsilon."""
    n = len(x)
    label = np.broadcast_to(label, (n,))

    def bound(norms, backwards):
        def margins(epsilon, rows):
            found = evaluated(
                net, x[rows], label[rows], epsilon, norms, backwards, execution=execution
            )
            return found.margins

        return margins

    start = np.broadcast_to(np.asarray(start, "float64"), (n,)).copy()
    better = None if thorough is None else bound(thorough, True)
    return certified_radius(start, bound("global", False), better)


STARTS = [1e-6, 1e-3, 0.1, 1.0, 10.0, 1e4]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("thorough", [None, "dense"])
def test_a_linear_net(start, thorough):
    """The radius is the gap over the norm of the difference of two rows."""
    rng = np.random.default_rng(0)
    weights, bias = rng.standard_normal((4, 6)), rng.standard_normal(4)
    net = Network(dense_model([weights], [bias]))
    x = rng.uniform(size=(5, 6)).astype("float32")
    weights, bias = (np.asarray(part, "float32").astype("float64") for part in (weights, bias))
    logits = x.astype("float64") @ weights.T + bias
    label, rows = logits.argmax(axis=1), np.arange(5)
    apart = np.linalg.norm(weights[label][:, None] - weights, axis=2)
    apart[rows, label] = 1.0
    gaps = logits[rows, label][:, None] - logits
    gaps[rows, label] = np.inf
    truth = (gaps / apart).min(axis=1)
    found = radii(net, x, label, start, thorough=thorough)
    # Inflations of 1e-10 and rounding of 1e-15 are all that is lost.
    assert (found <= truth).all()
    assert (found >= truth * (1 - 1e-9)).all()
    executed = radii(net, x, label, start, FLOAT32, thorough)
    assert (executed <= found).all() and (executed >= truth * 0.999 - 1e-5).all()
    wrong = radii(net, x, (label + 1) % 4, start, thorough=thorough)
    assert (wrong == 0).all()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("thorough", [None, "dense"])
def test_the_trap_of_bounds_that_do_not_scale(start, thorough):
    """Logits (min(relu(x), 1), 0.7) at 0.9: the box at epsilon 10 moves by 0.9, which is no slope."""
    weights = [np.array([[1.0]]), np.array([[1.0], [0.0]])]
    net = Network(dense_model(weights, [np.zeros(1), np.array([0.0, 0.7])], 1.0))
    x = np.array([[0.9]], "float32")
    found = radii(net, x, 0, start, thorough=thorough)
    truth = np.float64(np.float32(0.9)) - np.float64(np.float32(0.7))
    assert truth * (1 - 2 * TOLERANCE) <= found[0] <= truth


#: The same label almost everywhere: no attack changes it.
CONSTANT = ("deep", "mixed", "rescaled", "means")


@pytest.mark.parametrize("name", NETS)
def test_attacks_inside_the_radius_fail(name):
    """Every class is tried as the target, up to the radius; far beyond it some attack succeeds."""
    net, x = network(name), inputs(name)
    label = forward(net, x)[net.logits.index].argmax(axis=1)
    found = radii(net, x, label, 0.05, thorough="local")
    assert (found > 0).all() and np.isfinite(found).all()
    broken = {}
    for factor in (0.3, 1.0, 3.0, 8.0, 30.0):
        points = [attacked(net, x[[i]], factor * found[i])[0] for i in range(len(x))]
        logits = [forward(net, each)[net.logits.index] for each in points]
        broken[factor] = [(v.argmax(axis=1) != y).any() for v, y in zip(logits, label, strict=True)]
    assert not any(broken[0.3] + broken[1.0])
    assert any(broken[8.0] + broken[30.0]) == (name not in CONSTANT)


def test_the_tighter_bound_gives_larger_radii():
    for name in ("clipped", "residual", "clipped maxmin"):
        net, x = network(name), inputs(name)
        label = forward(net, x)[net.logits.index].argmax(axis=1)
        found = [radii(net, x, label, 0.05, thorough=each) for each in (None, "global", "local")]
        for less, more in zip(found, found[1:], strict=False):
            assert (more >= less * (1 - 2 * TOLERANCE)).all()
        assert (found[2] > 1.1 * found[0]).all()


def test_classes_that_are_closed_do_not_end_the_search():
    """Where all classes are certified the composite bound is not asked: its radius is larger."""
    net, x = network("clipped"), inputs("clipped")
    label = forward(net, x)[net.logits.index].argmax(axis=1)
    found = radii(net, x, label, 0.05)
    steps = np.geomspace(0.01, 1.0, 60)
    at = np.array([evaluated(net, x, label, e, "dense").margins.radius for e in steps])
    best = np.minimum(at, steps[:, None]).max(axis=0)
    assert (found >= best * (1 - 2 * TOLERANCE)).all()


@pytest.mark.parametrize("name", ["clipped", "residual", "clipped maxmin", "skip"])
def test_every_smaller_epsilon_is_certified(name):
    net, x = network(name), inputs(name)
    label = forward(net, x)[net.logits.index].argmax(axis=1)
    found = radii(net, x, label, 0.05, FLOAT32)
    for share in (1e-6, 0.01, 0.2, 0.5, 0.8, 0.95, 0.99):
        got = evaluated(net, x, label, share * found, "dense", execution=FLOAT32)
        assert (got.margins.least > 0).all()


def test_the_start_does_not_matter_much():
    net, x = network("clipped"), inputs("clipped")
    label = forward(net, x)[net.logits.index].argmax(axis=1)
    found = [radii(net, x, label, start) for start in STARTS[1:5]]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0.03)


def test_no_start_no_radius():
    net, x = network("clipped"), inputs("clipped")
    label = forward(net, x)[net.logits.index].argmax(axis=1)
    found = radii(net, x, label, [0.0, np.nan, np.inf])
    np.testing.assert_array_equal(found, 0.0)


def test_a_constant_network():
    """Nothing closes the gap: the radius is as large as the search goes, and no number overflows."""
    weights = [np.zeros((4, 3)), np.ones((2, 4))]
    net = Network(dense_model(weights, [np.zeros(4), np.array([1.0, 0.0])]))
    x = np.zeros((2, 3), "float32")
    assert (radii(net, x, 0, 1.0) >= 1e6).all()
    assert (radii(net, x, 0, [1.0, 1e300], FLOAT32) >= [1e6, 0.0]).all()
    assert (radii(net, x, 1, 1.0) == 0).all()


def test_units_that_open_far_away():
    """Up to 0.5 nothing moves; from there the rival rises."""
    weights = [np.array([[1.0]]), np.array([[0.0], [1.0]])]
    net = Network(dense_model(weights, [np.array([-0.5]), np.array([0.25, 0.0])], 10.0))
    x = np.zeros((1, 1), "float32")
    for start in STARTS[:5]:
        for thorough in (None, "dense"):
            found = radii(net, x, 0, start, thorough=thorough)[0]
            assert 0.5 * (1 - 2 * TOLERANCE) < found <= 0.75
            assert thorough is None or found >= 0.75 * (1 - 2 * TOLERANCE)


class Made:
    """A bound with one class and a gap of 1, from a function of epsilon to its gain."""

    def __init__(self, gain):
        self.gain, self.calls = gain, 0

    def __call__(self, epsilon, rows):
        self.calls += 1
        gain = np.array([[self.gain(e)] for e in epsilon])
        gap, none = np.ones_like(gain), np.zeros_like(gain)
        return Margins(gap, gain, none, epsilon, np.full_like(gap, np.inf))


@pytest.mark.parametrize("start", [1e-4, 0.01, 1.0, 50.0])
@pytest.mark.parametrize(
    ("gain", "truth"),
    [
        (lambda e: 1 + e, (np.sqrt(5) - 1) / 2),
        (lambda e: 1 + 10 * (e > 0.3), 0.3),
        (lambda e: 0.01 + e**2, 0.9967),
        (lambda e: 2.0, 0.5),
    ],
)
def test_the_search_alone(gain, truth, start):
    """Within one per cent of the last epsilon at which the line still holds; few evaluations."""
    bound = Made(gain)
    found = certified_radius(np.array([start]), bound, None)[0]
    assert truth * (1 - 0.03) <= found <= truth * (1 + 1e-9)
    assert bound.calls <= 12


@pytest.mark.parametrize("known", [0.0, 1e-3, 0.29, 0.3, 5.0])
def test_a_bound_that_takes_long_goes_on_from_what_is_known(known):
    """It is asked few times, never takes anything away, and stays below its own truth."""
    for gain, truth in ((lambda e: 1 + 10 * (e > 0.3), 0.3), (lambda e: 2.0, 0.5)):
        bound = Made(gain)
        found = widened(np.array([known]), bound)[0]
        assert known <= found <= max(known, truth) and bound.calls <= FEW
        assert found >= 0.95 * truth or not 0.2 <= known <= truth


def test_gains_that_are_not_monotone_are_sound_too():
    """Nothing but lines that hold at their own epsilon is ever reported."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        steps = rng.exponential(1, 40) * 10 ** rng.uniform(-2, 2, 40)

        def gain(e, steps=steps):
            return steps[int(20 + 4 * np.log10(e)) % 40]

        best, seen = [0.0], Made(gain)

        def bound(epsilon, rows, best=best, seen=seen):
            found = seen(epsilon, rows)
            best[0] = max(best[0], min(epsilon[0], found.radius[0]))
            return found

        start = np.array([10 ** rng.uniform(-3, 2)])
        assert certified_radius(start, bound, None)[0] <= best[0]
        known = np.array([0.5 * best[0]])
        assert widened(known, bound)[0] <= max(best[0], known[0])


def test_margins_as_radii():
    """Zero gain, zero gap, NaN and infinity in every place."""
    inf, nan = np.inf, np.nan
    cases = [  # gap, gain, rounding: radius
        (1.0, 2.0, 0.0, 0.5),
        (1.0, 2.0, 0.5, 0.25),
        (1.0, 0.0, 0.5, inf),
        (1.0, 0.0, 1.0, 0.0),
        (0.0, 0.0, 0.0, 0.0),
        (-1.0, 0.0, 0.0, 0.0),
        (0.0, 1.0, 0.0, 0.0),
        (inf, 0.0, 0.0, inf),
        (1.0, inf, 0.0, 0.0),
        (1.0, 1.0, inf, 0.0),
        (nan, 1.0, 0.0, 0.0),
        (1.0, nan, 0.0, 0.0),
        (1.0, 0.0, nan, 0.0),
        (nan, 0.0, 0.0, 0.0),
    ]
    gap, gain, rounding, expected = np.array(cases).T[:, :, None]
    closed = np.full_like(gap, inf)
    found = Margins(gap, gain, rounding, np.full(len(cases), 0.1), closed)
    np.testing.assert_allclose(found.radius, expected[:, 0], rtol=1e-9)
    assert (found.radius[:2] < expected[:2, 0]).all()
    certified = found.least > 0
    assert not certified[[3, 4, 5, 6, 8, 9, 10, 11, 12, 13]].any() and certified[:3].all()


def test_where_no_sample_has_a_radius():
    """A gap of one digit, which rounding alone can close."""
    model = dense_model([np.ones((2, 1))], [np.array([2.0**-23, 0.0])])
    found = model.certify(np.ones((1, 1), "float32"), epsilon=0.1, radius=True, verbose=False)
    assert found.radius == 0.0 and found.status == "unknown"
