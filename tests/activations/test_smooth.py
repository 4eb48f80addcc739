"""Smooth activations: values, slopes and ranges against sampled points, and how tight they are."""

import numpy as np
import pytest

from keraslip import activations
from keraslip.activations import smooth
from keraslip.activations.sampled import activation_problem
from keraslip.arithmetic import float64
from tests.certify.nets import bent

pytestmark = pytest.mark.any_backend("NumPy alone")

#: What is known of each: its largest slope.
KNOWN = {
    "tanh": (activations.Tanh(), 1.0),
    "tanh shrink": (activations.TanhShrink(), 1.0),
    "softsign": (activations.Softsign(), 1.0),
    "sigmoid": (activations.Sigmoid(), 0.25),
    "softplus": (activations.Softplus(), 1.0),
    "log sigmoid": (activations.LogSigmoid(), 1.0),
    "elu": (activations.ELU(), 1.0),
    "steep elu": (activations.ELU(3.0), 3.0),
    "falling elu": (activations.ELU(-1.5), 1.5),
    "no elu": (activations.ELU(0.0), 1.0),
    "selu": (activations.ELU(1.6732632423543772, 1.0507009873554805), 1.758099),
    "celu": (activations.ELU(2.0, width=2.0), 1.0),
    "silu": (activations.SiLU(), 1.099839),
    "gelu": (activations.GELU(), 1.128904),
    "approximate gelu": (activations.ApproximateGELU(), 1.128993),
    "hard silu": (activations.HardSiLU(), 1.5),
    "sparse plus": (activations.SparsePlus(), 1.0),
    "squareplus": (activations.Squareplus(), 1.0),
    "narrow squareplus": (activations.Squareplus(0.01), 1.0),
    "mish": (activations.Mish(), 1.088498),
}


@pytest.mark.parametrize("wrong", [{"width": -1.0}, {"width": 0.0}, {"scale": -1.0}])
def test_numbers_that_no_slope_belongs_to_are_refused(wrong):
    """`celu` with an alpha below 0 is an exponential."""
    with pytest.raises(ValueError, match="above 0. Received: scale="):
        activations.ELU(**wrong)


@pytest.fixture(params=KNOWN)
def act(request):
    return KNOWN[request.param][0].to(float64)


@pytest.mark.parametrize("name", KNOWN)
def test_lipschitz_constants_are_known(name):
    act, slope = KNOWN[name][0].to(float64), KNOWN[name][1]
    assert act.lipschitz == pytest.approx(slope, abs=2e-6)
    # Squareplus meets its limits slowly.
    z = np.concatenate([np.linspace(-30.0, 30.0, 600_001), [-1e4, 1e4]])
    found = np.abs(act.derivative(z))
    assert slope - 1e-5 <= found.max() <= act.lipschitz


@pytest.mark.parametrize("hard", [False, True])
def test_many_entries_are_worked_on_in_blocks_with_the_same_slopes(hard, monkeypatch):
    """A last block that is not full, and radii that are broadcast."""
    act, draw = activations.GELU().to(float64), np.random.default_rng(0)
    z, rho = draw.normal(size=(3, 7, 5)), draw.uniform(size=(3, 1, 1))
    whole = act.slopes(z, rho, hard)
    monkeypatch.setattr(smooth, "_BLOCK", 16)
    parts = act.slopes(z, rho, hard)
    for name, expected in vars(whole).items():
        np.testing.assert_array_equal(getattr(parts, name), expected)


def test_values_and_slopes(act):
    z = np.concatenate([np.linspace(-40.0, 40.0, 4_001), [1e-12, -1e-12, 300.0, -300.0]])
    value, slope = bent(act, z)
    np.testing.assert_allclose(act.call(z), value, rtol=1e-14, atol=1e-14)
    away = z != 0.0
    np.testing.assert_allclose(act.derivative(z)[away], slope[away], atol=1e-13)


def test_between_bends_the_slope_only_rises_or_falls(act):
    assert [piece.end for piece in act.pieces[:-1]] == list(act.bends)
    for piece in act.pieces:
        start, end = max(piece.start, -40.0), min(piece.end, 40.0)
        inside = np.linspace(start, end, 100_001)[1:-1]
        assert (np.diff(act.derivative(inside)) * piece.curve >= -1e-15).all()
        for slope, at in zip(piece.slopes, (start, end), strict=True):
            near = at + (1e-9 if at == start else -1e-9)
            # Slopes that meet their limits slowly: softsign's.
            assert act.derivative(np.array(near)) == pytest.approx(slope, abs=1e-3)


def test_what_it_says_of_itself_holds(act):
    for seed, shape in enumerate(((1,), (2, 4), (7,))):
        assert activation_problem(act, shape, np.random.default_rng(seed)) is None


def test_slopes_are_hardly_larger_than_they_must_be(act):
    rng = np.random.default_rng(0)
    z, rho = rng.uniform(-4.0, 4.0, 300), rng.exponential(1.0, 300)
    points = z + np.linspace(-1.0, 1.0, 2_000)[:, None] * rho
    # Corners are points that matter.
    corners = [np.clip(corner, z - rho, z + rho)[None] for corner in act.corners]
    points = np.concatenate([points, *corners])
    slopes = (act.call(points) - act.call(z)) / (points - z)
    found = act.slopes(z[None], rho[None], False)
    over, under = found.high[0] - slopes.max(axis=0), slopes.min(axis=0) - found.low[0]
    # Close to a corner the tangent of one center is not that of the next.
    most, mean = (0.1, 2e-3) if act.corners else (4e-3, 2e-4)
    for loose in (over, under):
        assert loose.min() > -1e-9 and loose.max() < most and loose.mean() < mean


def test_small_large_and_unknown_boxes(act):
    z = np.array([[0.3, -2.0, 1e4, -1e4, 0.0, 5.0, 1.0]])
    rho = np.array([[1e-14, 1e-300, 1e-3, 1e-3, 0.0, np.inf, np.nan]])
    for hard in (False, True):
        with np.errstate(invalid="ignore", over="ignore"):
            rows = act.slopes(z, rho, hard).rows
        near = np.abs(act.derivative(z[0, :4]))
        assert (rows[0, :4] >= near).all()
        np.testing.assert_allclose(rows[0, :4], near, atol=1e-6)
        np.testing.assert_allclose(rows[0, 5:], act.lipschitz, rtol=1e-6)


def test_what_bends_one_way_is_supported_by_its_tangent():
    act, box = activations.Softplus().to(float64), (np.array([[0.4]]), np.array([[3.0]]))
    slopes = act.slopes(*box, False)
    for c, tangent in ((1.0, True), (-1.0, False)):
        s, q = act.support(np.array([[c]]), *box, slopes)
        assert (q < 1e-9) == tangent
        assert not tangent or s == act.derivative(box[0])
