"""One formula, several arithmetics: each function is NumPy's, and a formula changes its arithmetic whole."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from keraslip.arithmetic import Formula, float64, training
from tests.arithmetic.cases import CALLS, FUNCTIONS, called
from tests.harness import gradient, numpy, tensor


def as_tensor(x):
    return tensor(x, "bool" if x.dtype == bool else "float32")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_numpys(name):
    for arithmetic, given, out in ((training, as_tensor, numpy), (float64, np.asarray, np.asarray)):
        found, expected = called(arithmetic, name, given, out)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_every_function_has_a_case():
    assert sorted(CALLS) == sorted(FUNCTIONS)


def test_a_guarded_division_has_a_finite_gradient():
    def function(x):
        quotient = training.divide(tensor([1.0, 1.0]), x)
        return training.sum(training.where(x == 0.0, 0.0, quotient))

    np.testing.assert_allclose(gradient(function, np.array([0.0, 2.0], "float32")), [0.0, -0.25])


@dataclass(frozen=True, eq=False)
class Scale(Formula):
    """A scale after others."""

    scale: Any
    name: str = "scale"
    slope: float = 0.1
    inner: tuple["Scale", ...] = ()

    def __call__(self, x: Any) -> Any:
        for part in self.inner:
            x = part(x)
        return self.arithmetic.maximum(self.scale * x, self.slope * x)


def test_a_formula_moves_whole():
    both = Scale(tensor([2.0, -3.0]), inner=(Scale(tensor([0.5, 0.5]), "first", 1.0),))
    moved = both.to(float64)
    assert moved.arithmetic is moved.inner[0].arithmetic is float64
    assert (moved.name, moved.inner[0].name) == ("scale", "first")
    # What the backend computes with is the float32.
    assert (moved.slope, both.slope) == (float(np.float32(0.1)), 0.1)
    x = np.array([[1.0, 4.0]])
    np.testing.assert_allclose(moved(x), numpy(both(tensor(x))), rtol=1e-6)
    assert moved(x).dtype == "float64"
    # Coefficients that are there already are not copied: a graph stores each once.
    assert moved.to(float64).scale is moved.scale
    positive = moved.each(np.abs)
    np.testing.assert_array_equal(positive.scale, [2.0, 3.0])
    np.testing.assert_array_equal(positive.inner[0].scale, [0.5, 0.5])
