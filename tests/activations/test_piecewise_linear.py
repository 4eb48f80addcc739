"""Activations of straight pieces: what they compute, and slopes of any size and sign."""

import numpy as np
import pytest

from keraslip.activations import ClippedReLU, PiecewiseLinear
from keraslip.activations.sampled import activation_problem
from keraslip.arithmetic import float64
from tests.harness import numpy, tensor

#: Kinks, slopes, and the value at zero.
SHAPES = {
    "leaky": ((0.0,), (0.3, 1.0), 0.0),
    "steep": ((0.0,), (2.0, 1.0), 0.0),
    "falling": ((0.0,), (-0.5, 1.0), 0.0),
    "flat": ((0.0, 0.5), (0.1, 1.0, 0.0), 0.0),
    "sigmoid": ((-3.0, 3.0), (0.0, 0.25, 0.0), 0.5),
    "crooked": ((-1.0, 0.3, 2.0), (-1.0, 2.0, -0.5, 0.1), -0.2),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_it_says_of_itself_holds(name):
    act = PiecewiseLinear(*SHAPES[name])
    for shape in ((1,), (2, 4)):
        assert activation_problem(act.to(float64), shape, np.random.default_rng(0)) is None


@pytest.mark.parametrize("name", SHAPES)
def test_values_and_masks_of_training(name):
    kinks, gradients, at_zero = SHAPES[name]
    act = PiecewiseLinear(kinks, gradients, at_zero)
    z = np.linspace(-4, 4, 161)[None]
    points = np.array([-9.0, *kinks, 9.0])
    steps = np.cumsum([0.0, *np.diff(points) * np.array(gradients)])
    expected = np.interp(z, points, steps) - np.interp(0.0, points, steps) + at_zero
    np.testing.assert_allclose(numpy(act.call(tensor(z))), expected, atol=1e-6)
    # In a ball of radius zero every slope is that at the center.
    found = act.kept(tensor(z), tensor(np.zeros_like(z)))
    away = np.abs(z[0][:, None] - np.array(kinks)).min(axis=1) > 0.01
    own = np.abs(np.array(gradients)[np.searchsorted(kinks, z[0])])
    np.testing.assert_allclose(numpy(found.rows)[0, away], own[away], rtol=1e-6)
    np.testing.assert_array_equal(numpy(found.columns), numpy(found.rows) > 0)


@pytest.mark.parametrize(("kinks", "slopes", "theta"), [
    ((0.0,), (0.0, 1.0), None), ((0.0, 0.5), (0.0, 1.0, 0.0), 0.5),
])  # fmt: skip
def test_a_clipped_relu_among_them_has_the_same_slopes(kinks, slopes, theta):
    rng = np.random.default_rng(0)
    z, rho, c = rng.normal(size=(3, 200, 4))
    both = [act.to(float64) for act in (PiecewiseLinear(kinks, slopes), ClippedReLU(theta))]
    straight, clipped = (act.slopes(z, np.abs(rho), False) for act in both)
    for part in ("rows", "columns", "low", "high"):
        np.testing.assert_allclose(getattr(straight, part), getattr(clipped, part), atol=1e-14)
    supports = [
        act.support(c, z, np.abs(rho), found)
        for act, found in zip(both, (straight, clipped), strict=True)
    ]
    for one, other in zip(*supports, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (1.0,)), "kinks must rise"),
        (((1.0, 0.0), (1.0, 2.0, 1.0)), "kinks must rise"),
        (((0.0,), (1.0,)), "both sides"),
        (((0.0,), (1.0, np.inf)), "finite"),
    ],
)
def test_what_makes_no_function(arguments, message):
    with pytest.raises(ValueError, match=message):
        PiecewiseLinear(*arguments)
