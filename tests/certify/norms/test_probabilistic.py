"""The probabilistic bound: fails as often as it says at most, and says so of few steps too."""

import numpy as np
import pytest
from scipy.special import betainc

from keraslip.certify.norms import conv_matrix, probabilistic_norm
from keraslip.certify.norms import probabilistic as module
from tests.certify.norms.convolutions import convolution, true_norm

pytestmark = pytest.mark.any_backend("norms of NumPy arrays")


def norm_of(matrix, delta=1e-9, seed=0, steps=60):
    def forward(x):
        return matrix @ x

    def adjoint(y):
        return matrix.T @ y

    rng = np.random.default_rng(seed)
    return probabilistic_norm(forward, adjoint, matrix.shape[1], delta, rng, steps)


def violations(singular_values, delta: float, steps: int, draws: int = 1000) -> float:
    rng = np.random.default_rng(0)
    values = np.asarray(singular_values)

    def apply(x):
        return values * x

    bounds = [
        probabilistic_norm(apply, apply, len(values), delta, rng, steps) for _ in range(draws)
    ]
    return float(np.mean(np.array(bounds) < values.max() * (1 - 1e-12)))


@pytest.mark.parametrize("delta", [0.5, 0.1])
@pytest.mark.parametrize("rest", [0.0, 0.5, 0.999])
def test_calibration_where_the_bound_is_sharp(delta, rest):
    # One step, one value above equal ones: the bound fails exactly when the component is too small.
    share = violations([1.0] + [rest] * 49, delta, steps=1)
    noise = np.sqrt(delta * (1 - delta) / 1000)
    assert delta * 0.9 - 3 * noise <= share <= delta + 3 * noise


@pytest.mark.parametrize("delta", [0.5, 0.1])
@pytest.mark.parametrize("steps", [2, 4, 7])
def test_calibration_of_a_spread_spectrum(delta, steps):
    assert violations(np.linspace(1.0, 0.0, 60), delta, steps, draws=400) <= delta


def test_some_bounds_fail_so_that_the_test_can():
    assert violations(np.linspace(1.0, 0.0, 60), 0.5, steps=7, draws=400) > 0.0


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("delta", [0.9, 0.5, 1e-3, 1e-9])
def test_component_is_too_small_with_probability_delta_at_most(size, delta):
    component = module._component(delta, 1, size)
    # The square of one component is distributed as Beta(1/2, (n - 1)/2).
    if size > 1:
        assert betainc(0.5, (size - 1) / 2, min(component, 1.0) ** 2) <= delta
        assert betainc(0.5, (size - 1) / 2, component**2) >= delta * 0.5


@pytest.mark.parametrize(
    ("steps", "delta", "ratio"), [(60, 1e-9, 1.03), (80, 1e-11, 1.02), (40, 1e-4, 1.05)]
)
def test_convolutions(steps, delta, ratio):
    rng = np.random.default_rng(0)
    matrix = conv_matrix(convolution(rng, (12, 12), 3, channels=(4, 6)))
    truth = true_norm(matrix.toarray())
    for seed in range(3):
        assert truth <= norm_of(matrix, delta, seed, steps) <= truth * ratio


def test_smaller_delta_needs_more_starts_and_gives_larger_bounds():
    matrix = np.random.default_rng(0).standard_normal((80, 90))
    calls = []

    def forward(x):
        calls.append(None)
        return matrix @ x

    counts = {}
    for delta in (1e-3, 1e-9, 1e-18):
        calls.clear()
        rng = np.random.default_rng(0)
        probabilistic_norm(forward, lambda y: matrix.T @ y, 90, delta, rng, steps=10)
        counts[delta] = len(calls) // 11
    assert counts == {1e-3: 1, 1e-9: 2, 1e-18: 3}
    assert norm_of(matrix, 1e-3, steps=10) < norm_of(matrix, 1e-6, steps=10)


def test_a_start_without_the_top_vector():
    # What one start misses altogether is bounded by nothing it sees: the next draw decides.
    class Blind:
        def __init__(self):
            self.rng = np.random.default_rng(0)
            self.draws = 0

        def standard_normal(self, size):
            self.draws += 1
            draw = self.rng.standard_normal(size)
            draw[0] *= float(self.draws != 1)
            return draw

    values = np.r_[2.0, np.linspace(1.0, 0.5, 30)]
    rng = Blind()
    bound = probabilistic_norm(lambda x: values * x, lambda y: values * y, 31, 1e-9, rng, 60)
    assert rng.draws == 2
    assert 2.0 <= bound <= 2.0 * (1 + 1e-3)


def test_invariant_spaces():
    rng = np.random.default_rng(0)
    rank_one = np.outer(rng.standard_normal(30), rng.standard_normal(40))
    for matrix in (rank_one, np.eye(7), np.diag([1.0, 100.0]), np.array([[3.0]]), np.ones((1, 9))):
        truth = true_norm(matrix)
        assert truth <= norm_of(matrix) <= truth * (1 + 1e-3)


def test_zero_empty_and_not_finite():
    assert norm_of(np.zeros((4, 5))) == 0.0
    assert norm_of(np.zeros((4, 0))) == 0.0
    for value in (np.nan, np.inf):
        matrix = np.ones((4, 5))
        matrix[1, 2] = value
        assert norm_of(matrix) == np.inf


@pytest.mark.parametrize("exponent", [-660, -66, 66, 660])
def test_powers_of_two_scale_exactly(exponent):
    matrix = np.random.default_rng(0).standard_normal((20, 30))
    assert norm_of(matrix * 2.0**exponent) == norm_of(matrix) * 2.0**exponent


@pytest.mark.parametrize(("delta", "steps"), [(0.0, 5), (1.0, 5), (np.nan, 5), (0.1, 0)])
def test_bad_arguments(delta, steps):
    with pytest.raises(ValueError, match="Received: "):
        norm_of(np.eye(3), delta, steps=steps)


def test_root_of_a_known_polynomial():
    # Chebyshev: p_2 of the matrix [[0, b], [b, 0]] with last divisor d is (t^2 - b^2) / (b d).
    root = module.polynomial_root(np.zeros(2) + 1.0, np.array([0.5, 0.25]), np.log(100.0))
    np.testing.assert_allclose(root, 1.0 + np.sqrt(0.25 + 100.0 * 0.5 * 0.25), rtol=1e-12)
