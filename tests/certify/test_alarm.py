"""The eyes of certification: executions and certificates that are a little wrong are seen."""

import numpy as np
import pytest

from keraslip.certify import CertificateViolation
from keraslip.certify.bound.margins import Margins
from keraslip.certify.execution import attack
from keraslip.certify.run import alarm, cascade
from tests.certify.nets import FLOAT32, dense_model, evaluated, inputs, model, network

QUIET = {"batch_size": 64, "verbose": False}
NAME = "clipped"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASLIP_VIOLATIONS", str(tmp_path / "violations"))


@pytest.fixture(scope="module")
def x():
    return inputs(NAME, 40)


def shifted(monkeypatch, by, where):
    """Executed logits that are off at some inputs: label and gaps stay."""
    executed = cascade.Executed.logits

    def logits(self, x):
        off = np.where(where(x)[:, None], by, 0.0)
        return (executed(self, x).astype("float64") + off).astype("float32")

    monkeypatch.setattr(cascade.Executed, "logits", logits)


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_executions_are_held_against_the_rounding_at_the_center(arithmetic, x, monkeypatch):
    """The ball allows far more than what float32 can do at its center."""
    epsilon = 50.0
    error = evaluated(network(NAME), x, 0, epsilon, execution=FLOAT32).error.min()
    small = evaluated(network(NAME), x, 0, 0.0, execution=FLOAT32).error.max()
    assert error > 20 * small
    label = model(NAME).predict(x, verbose=0).argmax(axis=1)
    # Certified at 0, or not certified at all in the large ball.
    radii = np.where(np.arange(len(x)) % 2, 0.0, epsilon)
    found = model(NAME).certify(x, label, radii, arithmetic=arithmetic, **QUIET)
    assert found.certified[1::2].all() and not found.certified[::2].any()
    odd = x[1 if arithmetic == "float64" else 0]
    # The mean error would tell as well, of the samples that it is taken of.
    monkeypatch.setattr(cascade, "check_rounding", lambda *args: None)
    shifted(monkeypatch, 10 * small, lambda points: (points == odd).all(axis=1))
    with pytest.raises(CertificateViolation, match="less precision than it says") as raised:
        model(NAME).certify(x, label, radii, arithmetic=arithmetic, **QUIET)
    np.testing.assert_array_equal(raised.value.example["x"], odd)


def attacks(monkeypatch):
    """What the alarm attacks: inputs, radii, points."""
    seen, search = [], attack.pgd_l2

    def recorded(model, x, y, epsilon, **options):
        points = search(model, x, y, epsilon, **options)
        seen.append((x, epsilon, points, options))
        return points

    monkeypatch.setattr(attack, "pgd_l2", recorded)
    return seen


def test_executions_are_held_against_exact_ones_where_the_attack_ends(x, monkeypatch):
    """An execution that is right at every center, and keeps every label."""
    epsilon = 0.02
    assert model(NAME).certify(x, epsilon=epsilon, **QUIET).certified.sum() >= 20
    allowed = evaluated(network(NAME), x, 0, 0.0, execution=FLOAT32).error.max()

    def near(points):
        apart = np.linalg.norm(points[:, None] - x, axis=2).min(axis=1)
        return (0.0 < apart) & (apart <= epsilon)

    shifted(monkeypatch, 10 * allowed, near)
    with pytest.raises(CertificateViolation, match="less precision than it says") as raised:
        model(NAME).certify(x, epsilon=epsilon, **QUIET)
    assert near(raised.value.example["x"][None]).all()


def test_at_least_32_certified_samples_are_attacked_and_others_each_time(monkeypatch):
    x = inputs(NAME, 200)
    # Certified samples alone, so that nothing else is attacked.
    label, epsilon = model(NAME).predict(x, verbose=0).argmax(axis=1), 1e-4
    found = model(NAME).certify(x, label, epsilon, **QUIET)
    x, label = x[found.certified], label[found.certified]
    assert len(x) >= 100
    monkeypatch.setattr("keraslip.certify.execution.block.SIZE", 50)
    seen = attacks(monkeypatch)
    chosen = []
    for _ in range(2):
        seen.clear()
        model(NAME).certify(x, label, epsilon, **QUIET)
        assert len(seen[0][0]) == 32 and all(len(one[0]) == 16 for one in seen[1:])
        assert all(one[3]["input_range"] is None for one in seen)
        chosen.append({point.tobytes() for point in seen[0][0]})
        assert len(chosen[-1]) == 32
    assert chosen[0] != chosen[1]
    seen.clear()
    model(NAME).certify(x[:20], label[:20], epsilon, **QUIET)
    assert len({point.tobytes() for point in seen[0][0]}) == 20


def linear():
    """Logits (2 x0, 2 x1, -9): the true radius is known."""
    return dense_model([np.array([[2.0, 0], [0, 2], [0, 0]])], [np.array([0, 0, -9.0])])


LINEAR_X = np.array([[0.9, 0.1], [0.5, 0.45], [0.2, 0.7]], "float32")


def test_radii_are_attacked_just_inside(monkeypatch):
    seen = attacks(monkeypatch)
    found = linear().certify(LINEAR_X, epsilon=1e-3, radius=True, **QUIET)
    x, epsilon, points, _ = seen[-1]
    np.testing.assert_allclose(np.unique(epsilon), 0.999 * np.sort(found.radius), rtol=1e-6)
    apart = np.linalg.norm(points.astype("float64") - x, axis=1)
    assert (apart <= epsilon).all() and (apart >= 0.99 * epsilon).all()


def test_a_radius_that_is_a_little_too_large_is_seen(monkeypatch):
    """Of samples that are not certified at epsilon as well."""
    true = Margins.radius.fget
    for epsilon in (1e-3, 0.3):
        linear().certify(LINEAR_X, epsilon=epsilon, radius=True, **QUIET)
        with monkeypatch.context() as patch:
            patch.setattr(Margins, "radius", property(lambda self: 1.01 * true(self)))
            with pytest.raises(CertificateViolation, match="changed a certified label") as raised:
                linear().certify(LINEAR_X, epsilon=epsilon, radius=True, **QUIET)
        example = raised.value.example
        apart = np.linalg.norm(example["attacked"].astype("float64") - example["x"])
        assert apart <= example["epsilon"]


def test_ties_within_the_rounding_contradict_no_ideal_network():
    """Near 1000 float32 does not see the gap that exact arithmetic proves."""
    made = dense_model([np.array([[1.0, 0.0], [0.0, 0.0]])], [np.array([1000.0, 1000.5])])
    x, epsilon = np.array([[0.5001, 0.25]], "float32"), 9e-5
    near = np.array([[0.50001, 0.25]], "float32")
    assert np.ptp(made.predict(near, verbose=0)) == 0.0  # a tie, as executed
    found = made.certify(x, epsilon=epsilon, arithmetic="float64", radius=True, **QUIET)
    assert found.certified.all() and found.radius[0] >= epsilon
    assert not made.certify(x, epsilon=epsilon, **QUIET).certified.any()


def test_a_tie_contradicts_what_float32_promises():
    logits = np.array([[1.0, 1.0, 0.0], [2.0, 1.0, np.nan], [1.0, np.inf, 0.0], [2.0, 1.0, 0.0]])
    label, none = np.zeros(4, dtype="int64"), np.zeros((4, 3))
    assert alarm._flipped(logits, label, none).tolist() == [True, True, True, False]
    # Of the ideal network they say so only beyond the rounding.
    assert alarm._flipped(logits, label, none + 0.1).tolist() == [False, False, True, False]
    far = np.array([[1.0, 1.21, 0.0], [1.0, 1.19, 0.0]])
    assert alarm._flipped(far, label[:2], none[:2] + 0.1).tolist() == [True, False]


def test_a_lipschitz_bound_that_is_a_little_too_small_is_seen(monkeypatch):
    """Logits of the size of 1e-3: what an allowance of fixed size would hide."""
    scale = 1e-4
    rows = scale * np.array([[2.0, 0], [0, 2], [0, 0]])
    made = dense_model([rows], [scale * np.array([0, 0, -9.0])])
    assert made.certify(LINEAR_X, epsilon=0.01, **QUIET).certified.all()
    audit = alarm.audit

    def doubted(executed, samples, *args):
        samples.lipschitz *= 0.99
        audit(executed, samples, *args)

    monkeypatch.setattr(alarm, "audit", doubted)
    with pytest.raises(CertificateViolation, match="moved further than the Lipschitz bound"):
        made.certify(LINEAR_X, epsilon=0.01, **QUIET)
