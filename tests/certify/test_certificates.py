"""The result: what it answers, and that files bring back what was saved."""

import json

import numpy as np
import pytest

from keraslip.certify import Certificates
from keraslip.certify.result.status import CERTIFIED_BY, STATUSES
from keraslip.certify.result.table import as_text, build_table

pytestmark = pytest.mark.any_backend("arrays and files")


def certificates(status=("slopes", "attacked", "unknown", "dense"), radius=(0.5, 0.0, 0.1, 0.3)):
    status = np.array(status, "U16")
    n = len(status)
    return Certificates(
        label=np.arange(n) % 3,
        certified=np.isin(status, CERTIFIED_BY),
        margin=np.linspace(1, -1, n),
        lipschitz=np.linspace(2, 3, n),
        radius=None if radius is None else np.array(radius),
        status=status,
        epsilon=np.full(n, 0.2),
        guarantee="proved",
        arithmetic="float32",
        details={"effort": "full", "seed": 2**63, "versions": {"keras": "3"}},
        counterexamples={1: np.arange(6, dtype="float32").reshape(2, 3)},
    )


def assert_equal(one, other):
    for name in ("label", "certified", "margin", "lipschitz", "radius", "status", "epsilon"):
        left, right = getattr(one, name), getattr(other, name)
        if left is None:
            assert right is None
            continue
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    for name in ("guarantee", "arithmetic", "details"):
        assert getattr(one, name) == getattr(other, name)
    assert one.counterexamples.keys() == other.counterexamples.keys()
    for index, x in one.counterexamples.items():
        np.testing.assert_array_equal(x, other.counterexamples[index])


@pytest.mark.parametrize("radius", [None, (0.5, 0.0, 0.1, np.inf)])
def test_saved_and_loaded(tmp_path, radius):
    path = tmp_path / "certificates.npz"
    found = certificates(radius=radius)
    found.save(path)
    assert_equal(found, Certificates.load(path))
    assert_equal(found, Certificates.load(str(path)))
    assert [file.name for file in tmp_path.iterdir()] == ["certificates.npz"]


def test_files_of_before_name_their_stage_as_today(tmp_path):
    """In format 1 the first stage was called "global"."""
    path, found = tmp_path / "old.npz", certificates()
    found.save(path)
    with np.load(path) as stored:
        arrays = dict(stored)
    assert json.loads(str(arrays["meta"]))["format"] == 2
    arrays["meta"] = np.array(json.dumps({**json.loads(str(arrays["meta"])), "format": 1}))
    arrays["status"] = np.where(arrays["status"] == "slopes", "global", arrays["status"])
    np.savez_compressed(path, **arrays)
    assert_equal(Certificates.load(path), found)


def test_saving_again_replaces_the_file(tmp_path):
    path = tmp_path / "certificates.npz"
    certificates(radius=None).save(path)
    certificates().save(path)
    assert Certificates.load(path).radius is not None


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "certificates.npz"
    certificates().save(path)

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        certificates(radius=None).save(path)
    assert Certificates.load(path).radius is not None


def garbage(folder, kind):
    path = folder / "file.npz"
    if kind == "text":
        path.write_text("no certificates here")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "an array":
        with path.open("wb") as file:
            np.save(file, np.arange(3))
    elif kind == "other arrays":
        np.savez(path, weights=np.arange(3))
    elif kind == "no JSON":
        np.savez(path, meta=np.array("{"))
    elif kind == "no labels":
        meta = {"format": 1, "guarantee": "proved", "arithmetic": "float32", "details": {}}
        np.savez(path, meta=np.array(json.dumps(meta)), margin=np.arange(3))
    elif kind == "little meta":
        np.savez(path, meta=np.array(json.dumps({"format": 1})), label=np.arange(3))
    elif kind == "objects":
        np.savez(path, meta=np.array([object()], dtype=object))
    else:
        certificates().save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if kind == "half" else whole[:-30] + b"x" * 30)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "text", "empty", "an array", "other arrays", "no JSON", "no labels", "little meta",
        "objects", "half", "bad end",
    ],
)  # fmt: skip
def test_what_is_no_file_of_certificates(tmp_path, kind):
    with pytest.raises(ValueError, match="holds no certificates"):
        Certificates.load(garbage(tmp_path, kind))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        Certificates.load(tmp_path / "none.npz")


def test_a_newer_format_says_so(tmp_path):
    path = tmp_path / "file.npz"
    meta = {"format": 3, "guarantee": "proved", "arithmetic": "float32", "details": {}}
    np.savez(path, meta=np.array(json.dumps(meta)), label=np.arange(3))
    with pytest.raises(ValueError, match="format 3, newer than this keraslip reads"):
        Certificates.load(path)


def test_certified_accuracy():
    found = certificates()  # labels 0 1 2 0, certified 1 0 0 1
    assert found.certified_accuracy([0, 1, 2, 0]) == 0.5
    assert found.certified_accuracy([0, 1, 2, 1]) == 0.25
    assert found.certified_accuracy(np.array([[0], [1], [2], [0]])) == 0.5
    assert found.certified_accuracy(np.eye(3)[[0, 1, 2, 1]]) == 0.25
    # What is no label is not class 0.
    assert found.certified_accuracy([-1, 3, 2, -1]) == 0.0
    with pytest.raises(ValueError, match="one-hot"):
        found.certified_accuracy(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="There are 4 certificates. Received: 3 labels"):
        found.certified_accuracy([0, 1, 2])


def test_curve():
    found = certificates()
    y = [0, 1, 2, 1]
    np.testing.assert_allclose(found.curve(y, [0, 0.1, 0.2, 0.5, 0.51]), [0.5, 0.5, 0.25, 0.25, 0])
    # A radius of zero certifies nothing, not even at zero.
    assert found.curve([2, 1, 0, 2], [0.0])[0] == 0.0
    with pytest.raises(ValueError, match="certify\\(x, radius=True\\)"):
        certificates(radius=None).curve(y, [0.1])


def test_shares_add_up_to_one():
    found = certificates(["slopes"] * 3 + list(STATUSES), None)
    assert list(found.shares) == list(STATUSES)
    assert abs(sum(found.shares.values()) - 1) < 1e-12
    assert found.shares["slopes"] == 4 / 13
    assert certificates((), None).shares == {}


def test_complete_and_estimated():
    assert certificates().complete and len(certificates()) == 4
    assert not certificates(("slopes", "pending"), None).complete
    found = certificates(("estimated", "not estimated", "slopes"), None)
    np.testing.assert_array_equal(found.estimated, [True, False, True])
    np.testing.assert_array_equal(found.certified, [False, False, True])


def test_a_table_of_every_status():
    text = str(certificates([*STATUSES, "estimated", "not estimated"], None))
    for status in (*STATUSES, "estimated", "not estimated"):
        assert status in text
    assert "12 samples, epsilon 0.2 (L2, raw input units)" in text
    assert "guarantee proved, arithmetic float32" in text
    assert "all stages together" in text and text == as_text(
        build_table(certificates([*STATUSES, "estimated", "not estimated"], None))
    )
    assert "PARTIAL: 1 of 12 samples are pending" in text and ">= 33.3" in text
    assert "PARTIAL" not in str(certificates()) and ">=" not in str(certificates())
    ranged = certificates()
    ranged.epsilon[:] = [0.1, 0.2, 0.3, 0.1]
    assert "epsilon 0.1..0.3" in str(ranged)
