"""The alarm: what contradicts a certificate is saved and raised."""

import errno
import os
import pickle

import numpy as np
import pytest

import keraslip
from keraslip.certify import CertificateViolation
from keraslip.certify.execution import violation
from keraslip.certify.execution.block import Block
from keraslip.certify.execution.executed import Executed, self_check
from keraslip.certify.execution.violation import check_folder, violated
from keraslip.certify.run.alarm import audit
from keraslip.certify.run.samples import Samples
from tests.certify.nets import dense_model


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


def in_the_way(tmp_path):
    """A folder that nobody can make, not even who may write anywhere: a file has its name."""
    (tmp_path / "file").write_text("not a folder")
    return tmp_path / "file" / "found"


def assert_kept(error):
    np.testing.assert_array_equal(error.example["x"], np.arange(3))
    assert error.example["epsilon"] == 0.5


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_that_cannot_be_written_does_not_hide_the_violation(named, tmp_path, monkeypatch):
    folder, spare = in_the_way(tmp_path), tmp_path / "temporary"
    monkeypatch.setenv("KERASLIP_VIOLATIONS", str(folder if named else folder.parent))
    monkeypatch.setattr(violation.tempfile, "gettempdir", lambda: str(spare))
    error = violated("here.", x=np.arange(3), epsilon=0.5)
    assert error.path == spare / "keraslip-violation-0.npz"
    assert str(error.path) in str(error) and "could not be saved" in str(error)
    assert "file" in str(error) and error.reason in str(error)
    assert_kept(error)
    with np.load(error.path) as saved:
        np.testing.assert_array_equal(saved["x"], np.arange(3))


def test_a_full_disk_does_not_hide_the_violation(folder, tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(violation.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.setattr(violation.np, "savez", full)
    error = violated("here.", x=np.arange(3), epsilon=0.5)
    assert error.path is None and os.strerror(errno.ENOSPC) in str(error)
    assert "`example`" in str(error)
    assert_kept(error)
    assert not [*folder.iterdir(), *(tmp_path / "temporary").iterdir()]


def test_an_error_crosses_processes_with_its_example(folder):
    error = pickle.loads(pickle.dumps(violated("here.", x=np.arange(3), epsilon=0.5)))
    assert str(error.path) in str(error) and str(error).count("saved in") == 1
    assert_kept(error)


def test_the_folder_is_tried_before_anything_is_certified(tmp_path, monkeypatch):
    model = dense_model([np.eye(3)])
    x = np.array([[0.9, 0.1, 0.2]], "float32")
    monkeypatch.setenv("KERASLIP_VIOLATIONS", str(in_the_way(tmp_path)))
    monkeypatch.setattr(Executed, "logits", None)  # nothing was run
    with pytest.raises(ValueError, match=f"Received: KERASLIP_VIOLATIONS={tmp_path}"):
        model.certify(x, epsilon=0.1, verbose=False)


def test_a_folder_that_can_be_written_is_left_as_it_was(folder, tmp_path, monkeypatch):
    for name in (folder / "a" / "b", tmp_path):
        monkeypatch.setenv("KERASLIP_VIOLATIONS", str(name))
        check_folder()
    assert not list(tmp_path.iterdir())


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
    executed, block = Executes(matrix), Block(x, np.zeros(2, dtype="int64"), np.zeros(2))
    samples = Samples.begin(block, np.full(2, epsilon), executed.logits(x))
    samples.lipschitz[:] = lipschitz
    audit(executed, samples, np.asarray(points), np.array([1]))


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
