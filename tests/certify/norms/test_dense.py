"""Norms of dense matrices: never below the truth, 0.3 % above at most."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keraslip.certify.norms import dense as dense_module
from keraslip.certify.norms import dense_norm, gram_norm
from tests.certify.norms.convolutions import true_norm

pytestmark = pytest.mark.any_backend("norms of NumPy arrays")

TIGHT = 1.003


def check(matrix: np.ndarray, tight: float = TIGHT) -> None:
    truth, bound = true_norm(matrix), dense_norm(matrix)
    assert truth * (1 - 1e-12) <= bound <= truth * tight


@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 3), (48, 48), (49, 200), (200, 49), (512, 512), (300, 1), (1, 5000)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gaussian(shape, dtype):
    check(np.random.default_rng(0).standard_normal(shape).astype(dtype))


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.floats(-1e3, 1e3, allow_subnormal=False),
    )
)
def test_any_small_matrix(matrix):
    truth = true_norm(matrix)
    assert truth * (1 - 1e-12) <= dense_norm(matrix) <= truth * (1 + 1e-6)


def spectra() -> dict[str, np.ndarray]:
    steps = np.arange(120)
    return {
        "equal": np.ones(120),
        "one above equal": np.r_[1.0 + 1e-9, np.ones(119)],
        "pair": np.r_[1.0, 1.0 - 1e-13, np.zeros(118)],
        "rank one": np.r_[1.0, np.zeros(119)],
        "linear": 1.0 - steps / 120,
        "slow decay": 1.0 / (1.0 + 1e-3 * steps),
        "sharp edge": 1.0 - (steps / 120.0) ** 3,
        "many orders": 10.0 ** (-steps / 4.0),
    }


@pytest.mark.parametrize("name", spectra())
def test_spectra(name):
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((150, 120)))[0] for _ in range(2))
    check((left * spectra()[name]) @ right.T)


def test_diagonal_with_a_small_first_entry():
    # A power iteration from the first unit vector says 1.
    assert 100.0 <= dense_norm(np.diag([1.0, 100.0])) <= 100.0 * (1 + 1e-6)


def test_duplicated_rows_and_columns():
    a = np.random.default_rng(0).standard_normal((30, 40))
    check(np.concatenate([a, a]))
    check(np.concatenate([a, a, -a], axis=1))
    ratio = dense_norm(np.concatenate([a, a])) / dense_norm(a)
    np.testing.assert_allclose(ratio, np.sqrt(2), rtol=TIGHT - 1)


def test_rank_one_is_tight_at_any_size():
    rng = np.random.default_rng(0)
    matrix = np.outer(rng.standard_normal(700), rng.standard_normal(900))
    assert true_norm(matrix) * (1 - 1e-12) <= dense_norm(matrix) <= true_norm(matrix) * (1 + 1e-8)


@pytest.mark.parametrize("exponent", [-660, -66, -1, 1, 66, 660])
@pytest.mark.parametrize("shape", [(9, 20), (90, 200)])
def test_powers_of_two_scale_exactly(shape, exponent):
    matrix = np.random.default_rng(0).standard_normal(shape)
    assert dense_norm(matrix * 2.0**exponent) == dense_norm(matrix) * 2.0**exponent


@pytest.mark.parametrize("scale", [1e-20, 1e-300, 1e300])
def test_other_scales(scale):
    matrix = np.random.default_rng(0).standard_normal((60, 70))
    np.testing.assert_allclose(dense_norm(matrix * scale), dense_norm(matrix) * scale, rtol=1e-6)


def test_the_smallest_numbers_are_rounded_up():
    tiny = 2.0**-1074
    assert dense_norm(np.full((1, 2), tiny)) >= 2 * tiny  # sqrt(2) times is no float64
    assert dense_norm(np.full((40, 40), 2.0**1023)) == np.inf


def test_zero_and_empty():
    assert dense_norm(np.zeros((5, 6))) == 0.0
    assert dense_norm(-np.zeros((60, 60))) == 0.0
    assert dense_norm(np.zeros((0, 6))) == 0.0
    assert dense_norm(np.zeros((6, 0))) == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_gives_infinity(value):
    matrix = np.ones((3, 4))
    matrix[1, 2] = value
    assert dense_norm(matrix) == np.inf
    matrix[0, 0] = -value
    assert dense_norm(matrix) == np.inf


def test_without_any_proof_the_simple_bounds_remain(monkeypatch):
    monkeypatch.setattr(dense_module, "prove_each", lambda gram, t: np.zeros(len(gram), dtype=bool))
    matrix = np.random.default_rng(0).standard_normal((60, 70))
    assert true_norm(matrix) <= dense_norm(matrix) <= np.linalg.norm(matrix) * (1 + 1e-6)
    matrix[:, :] = np.eye(60, 70)
    assert 1.0 <= dense_norm(matrix) <= 1.0 + 1e-6


def test_an_estimate_far_below_is_found_out(monkeypatch):
    monkeypatch.setattr(dense_module, "top_eigenvalue", lambda apply, size, steps: 1.0)
    matrix = np.random.default_rng(0).standard_normal((60, 70))
    assert dense_norm(matrix) >= true_norm(matrix)
    monkeypatch.setattr(dense_module, "top_eigenvalue", lambda apply, size, steps: 0.0)
    assert dense_norm(matrix) >= true_norm(matrix)


@pytest.mark.parametrize("bits", [8, 11, 24])
def test_rounding_of_the_gram_matrix_counts(bits):
    # Every entry of the Gram matrix is cut to a few bits, as sums that always round down would be.
    matrix = np.full((60, 80), 1.0 + 2.0**-bits)
    gram = matrix @ matrix.T
    fraction, exponent = np.frexp(gram)
    cut = np.ldexp(np.floor(fraction * 2**bits) / 2**bits, exponent)
    assert (cut < gram).all()
    lost = 2.0 ** (1 - bits) * matrix.sum(axis=0).max() * matrix.sum(axis=1).max()
    # The usual distance between estimate and level would hide it.
    near = dense_module.Search(24, (1.0 + 1e-9,))
    assert gram_norm(cut, 0.0, near) < true_norm(matrix) <= gram_norm(cut, float(lost), near)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(512, 3136), (512, 4096), (1024, 1024)])
def test_large(shape):
    check(np.random.default_rng(0).standard_normal(shape).astype("float32"))
