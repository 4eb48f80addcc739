"""The Cholesky proof: never true of a level below the largest eigenvalue, in exact arithmetic."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import lapack

from keraslip.certify.norms import proof
from keraslip.certify.norms.proof import prove_band_below, prove_each
from keraslip.certify.norms.scaling import exponent_of, times_power

pytestmark = pytest.mark.any_backend("norms of NumPy arrays")


def prove_below(gram: np.ndarray, t: float) -> bool:
    """Whether no eigenvalue of any matrix of a batch exceeds t, proved with numbers near one."""
    exponent, size = exponent_of(np.asarray(t)), gram.shape[-1]
    scaled = times_power(gram.reshape(-1, size, size).astype(np.result_type(gram, 1.0)), -exponent)
    return bool(prove_each(scaled, times_power(t, -exponent)).all())


def gram_matrix(rng: np.random.Generator, size: int, complex_numbers: bool = False) -> np.ndarray:
    a = rng.standard_normal((size, size + 3))
    if complex_numbers:
        a = a + 1j * rng.standard_normal(a.shape)
    lower = np.tril(a @ a.conj().T, -1)
    return lower + lower.conj().T + np.diag(np.square(np.abs(a)).sum(axis=1))


def is_below_exactly(gram: np.ndarray, t: float) -> bool:
    """Whether `t I - G` is positive definite, by elimination with fractions."""
    rest = [[Fraction(-float(entry)) for entry in row] for row in gram]
    for i in range(len(rest)):
        rest[i][i] += Fraction(t)
    for k, pivot in enumerate(rest):
        if pivot[k] <= 0:
            return False
        for row in rest[k + 1 :]:
            factor = row[k] / pivot[k]
            for j in range(k + 1, len(rest)):
                row[j] -= factor * pivot[j]
    return True


@pytest.mark.parametrize("complex_numbers", [False, True])
@pytest.mark.parametrize("size", [1, 2, 7, 64, 200])
def test_one_millionth_below_the_norm_fails(size, complex_numbers):
    gram = gram_matrix(np.random.default_rng(size), size, complex_numbers)
    top = np.linalg.eigvalsh(gram)[-1]
    assert prove_below(gram, top * (1 + 1e-6))
    # sigma * (1 - 1e-6) is a level of (1 - 2e-6).
    assert not prove_below(gram, top * (1 - 2e-6))
    assert not prove_below(gram, top * (1 - 1e-9))


def test_one_matrix_of_a_batch_is_enough_to_fail():
    rng = np.random.default_rng(0)
    batch = np.stack([gram_matrix(rng, 9, True) for _ in range(6)])
    tops = np.linalg.eigvalsh(batch)[:, -1]
    batch /= tops[:, None, None]
    assert prove_below(batch.reshape(2, 3, 9, 9), 1 + 1e-9)
    batch[4] *= 1 + 1e-6
    assert not prove_below(batch.reshape(2, 3, 9, 9), 1 + 1e-9)


def test_nothing_is_proved_that_exact_arithmetic_refutes():
    rng = np.random.default_rng(0)
    proved = 0
    for _ in range(25):
        gram = gram_matrix(rng, 6)
        top = np.linalg.eigvalsh(gram)[-1]
        for steps in (-16, -4, -2, -1, 0, 1, 2, 4, 16, 64, 256, 1024):
            t = float(top * (1 + steps * 2.0**-52))
            if prove_below(gram, t):
                proved += 1
                assert is_below_exactly(gram, t)
    assert proved >= 25  # each matrix at one level at least


@pytest.fixture
def coarse(monkeypatch):
    """Cholesky in float32: what the shift must cover is then far above float64's own rounding."""

    def factor(matrix, **_):
        return lapack.spotrf(matrix.astype(np.float32), lower=1)

    monkeypatch.setattr(proof, "lapack", SimpleNamespace(dpotrf=factor, zpotrf=None))


def share_of_false_proofs() -> float:
    rng = np.random.default_rng(0)
    false = []
    for _ in range(20):
        gram = gram_matrix(rng, 40)
        top = np.linalg.eigvalsh(gram)[-1]
        false += [prove_below(gram, top * (1 - share)) for share in (1e-7, 2e-8, 1e-8, 1e-9)]
    return float(np.mean(false))


def test_the_shift_of_the_arithmetic_that_is_used(coarse, monkeypatch):
    assert share_of_false_proofs() > 0.05  # float64's shift is too small for float32
    monkeypatch.setattr(proof, "UNIT64", 2.0**-24)
    assert share_of_false_proofs() == 0.0


@pytest.mark.parametrize("exponent", [-900, -660, 660, 900])
def test_levels_of_any_scale(exponent):
    gram = gram_matrix(np.random.default_rng(0), 12)
    top = np.linalg.eigvalsh(gram)[-1]
    assert prove_below(gram * 2.0**exponent, top * 1.000001 * 2.0**exponent)
    assert not prove_below(gram * 2.0**exponent, top * 0.999999 * 2.0**exponent)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_what_is_not_finite_is_not_proved(value):
    gram = np.eye(4)
    assert not prove_below(gram, value)
    gram[2, 1] = gram[1, 2] = value
    assert not prove_below(gram, 1e9)
    assert not prove_below(np.eye(4), 0.0)
    assert not prove_below(np.eye(4), -1.0)


def test_a_factor_with_nan_proves_nothing(monkeypatch):
    broken = SimpleNamespace(dpotrf=lambda matrix, **_: (np.full_like(matrix, np.nan), 0))
    monkeypatch.setattr(proof, "lapack", broken)
    assert not prove_below(np.eye(4), 2.0)


def test_band_storage():
    rng = np.random.default_rng(0)
    a = np.tril(np.triu(rng.standard_normal((60, 60)), -1), 2)
    gram = a @ a.T
    band = np.zeros((4, 60))
    for i in range(4):
        band[i, : 60 - i] = np.diagonal(gram, -i)
    top = np.linalg.eigvalsh(gram)[-1]
    assert prove_band_below(band, top * (1 + 1e-9))
    assert not prove_band_below(band, top * (1 - 1e-9))
