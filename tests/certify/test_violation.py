"""The alarm: what contradicts a certificate is saved and raised."""

import numpy as np
import pytest

import keraslip
from keraslip.certify import CertificateViolation
from keraslip.certify.alarm import audit
from keraslip.certify.execution import self_check
from keraslip.certify.findings import Findings
from keraslip.certify.violation import violated


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where examples are saved."""
    monkeypatch.setenv("KERASLIP_VIOLATIONS", str(tmp_path / "found"))
    return tmp_path / "found"


def test_examples_are_saved_one_after_the_other(folder):
    for number in range(3):
        error = violated(f"case {number}.", x=np.full(3, number), epsilon=0.5)
        assert isinstance(error, CertificateViolation) and isinstance(error, RuntimeError)
        assert error.path == folder / f"keraslip-violation-{number}.npz"
        assert f"case {number}." in str(error) and str(error.path) in str(error)
        with np.load(error.path, allow_pickle=False) as saved:
            np.testing.assert_array_equal(saved["x"], np.full(3, number))
            assert str(saved["message"]) == f"case {number}." and saved["epsilon"] == 0.5
    assert keraslip.CertificateViolation is CertificateViolation


def test_examples_go_to_the_working_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("KERASLIP_VIOLATIONS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert violated("here.").path == tmp_path / "keraslip-violation-0.npz"


def case(distance=0.0, error=1e-6):
    x, exact = np.ones((3, 2)), np.zeros((3, 4))
    executed = exact.copy()
    executed[1, 2] = distance
    return x, executed, exact, np.full((3, 4), error)


def test_logits_within_the_error_pass(folder):
    self_check(*case(1e-6))
    self_check(*case(-1e-6))
    self_check(*(part[:0] for part in case()))
    assert not folder.exists()


@pytest.mark.parametrize("distance", [1.1e-6, -1.0, np.nan, np.inf])
def test_logits_further_away_are_reported(folder, distance):
    with pytest.raises(CertificateViolation, match="executed logits are .* away"):
        self_check(*case(distance))
    with np.load(folder / "keraslip-violation-0.npz") as saved:
        assert saved["executed"].shape == (4,) and saved["error"].max() == 1e-6
        np.testing.assert_array_equal(saved["x"], [1, 1])


def test_an_error_that_is_no_number_allows_nothing(folder):
    with pytest.raises(CertificateViolation):
        self_check(*case(0.0, np.nan))


class Executes:
    """Logits that are a linear function of the input."""

    def __init__(self, matrix):
        self.matrix = np.asarray(matrix, "float64")

    def logits(self, x):
        return (x.reshape(len(x), -1) @ self.matrix.T).astype("float32")


def audited(points, lipschitz=1.5, epsilon=0.5, matrix=((1.0, 0.0), (0.0, 1.0))):
    x = np.array([[0.9, 0.5], [0.8, 0.3]])
    found = Findings.empty(np.zeros(2, dtype="int64"))
    found.lipschitz[:] = lipschitz
    rows = np.array([1])
    radii = np.full(2, epsilon)
    audit(Executes(matrix), found, x, np.asarray(points), rows, radii)


def test_points_that_keep_the_label_pass(folder):
    audited([[0.8, 0.3]])
    audited([[0.9, 0.6]])
    assert not folder.exists()


def test_a_changed_label_is_reported(folder):
    with pytest.raises(CertificateViolation, match="changed a certified label"):
        audited([[0.6, 0.65]])
    with np.load(folder / "keraslip-violation-0.npz") as saved:
        np.testing.assert_allclose(saved["attacked"], [0.6, 0.65])
        assert saved["label"] == 0 and saved["epsilon"] == 0.5


def test_a_changed_label_outside_of_the_ball_is_none(folder):
    audited([[0.6, 0.65]], epsilon=0.3)
    assert not folder.exists()


def test_logits_that_move_too_far_are_reported(folder):
    far = [[1.2, 0.3]]
    audited(far, lipschitz=1.01)
    with pytest.raises(CertificateViolation, match="moved further than the Lipschitz bound"):
        audited(far, lipschitz=0.9)
    assert len(list(folder.iterdir())) == 1
