"""What `load` returns, and what it says when it cannot."""

import dataclasses
import sys
import zlib

import numpy as np
import pytest

import keraslip
from keraslip.datasets import Dataset, load

pytestmark = pytest.mark.any_backend("NumPy arrays")
PARTS = ("train", "val", "test")
CHECKSUM = 2853748815  # of the labels of the test digits, in their order


def part(data: Dataset, name: str):
    return getattr(data, f"x_{name}"), getattr(data, f"y_{name}")


def check(data: Dataset) -> None:
    for name in PARTS:
        x, y = part(data, name)
        assert x.dtype == np.float32 and y.dtype == np.int32
        assert x.shape == (len(y), *data.input_shape)
        assert x.flags.c_contiguous and x.flags.writeable
        assert len(x) == 0 or (x.min() == 0 and x.max() == 1)
        assert len(y) == 0 or (y.min() >= 0 and y.max() < data.num_classes)


def images(data: Dataset, name: str) -> set[bytes]:
    return {image.tobytes() for image in part(data, name)[0]}


def test_digits():
    data = load("digits")
    check(data)
    assert str(data) == "digits: 1293 train, 144 validation, 360 test, 8 x 8 x 1, 10 classes"
    assert repr(data) == f"<Dataset {data}>"
    assert data.class_names == tuple("0123456789")
    assert data.num_classes == 10 and data.input_shape == (8, 8, 1)


def test_digits_are_all_there_and_in_one_part_only():
    from sklearn.datasets import load_digits

    data = load("digits")
    together = np.concatenate([part(data, name)[0] for name in PARTS])[..., 0] * 16
    scans = load_digits().images.reshape(1797, 64)
    np.testing.assert_array_equal(
        np.unique(together.reshape(1797, 64), axis=0), np.unique(scans, axis=0)
    )
    assert not images(data, "train") & images(data, "test")
    assert not images(data, "val") & (images(data, "train") | images(data, "test"))


def test_digits_are_stratified():
    data = load("digits")
    for name in PARTS:
        shares = np.bincount(part(data, name)[1]) / len(part(data, name)[1])
        np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_test_digits_are_the_same_for_ever():
    # Another division would make accuracies of different versions incomparable.
    assert zlib.crc32(load("digits").y_test.astype("uint8").tobytes()) == CHECKSUM
    other = load("digits", seed=7, validation_split=0.3)
    np.testing.assert_array_equal(load("digits").x_test, other.x_test)


def test_the_seed_decides_what_is_held_out():
    one, same, other = load("digits"), load("digits", seed=0), load("digits", seed=1)
    np.testing.assert_array_equal(one.x_val, same.x_val)
    assert images(one, "val") != images(other, "val")


@pytest.mark.parametrize(("split", "held"), [(0, 0), (0.0, 0), (0.2, 287), (100, 100)])
def test_size_of_the_validation_part(split, held):
    data = load("digits", validation_split=split)
    check(data)
    assert (len(data.x_train), len(data.x_val)) == (1437 - held, held)


@pytest.mark.parametrize("split", [-1, 1.0, 1437, 2.5, "half", True, float("nan"), 1430, 5])
def test_a_bad_validation_split_is_refused(split):
    with pytest.raises(ValueError, match="`validation_split` must .* Received: "):
        load("digits", validation_split=split)


def test_bad_names_and_seeds_are_refused():
    with pytest.raises(ValueError, match="must be one of digits, mnist, .*Received: name='emnist'"):
        load("emnist")
    for seed in (-1, 0.5, True, 2**32):
        with pytest.raises(ValueError, match="`seed` must be an integer"):
            load("digits", seed=seed)


def test_a_data_set_cannot_be_changed_by_mistake():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load("digits").x_test = None


def test_it_is_reached_from_the_package():
    assert keraslip.datasets.load is load


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "keraslip\[datasets\]"'):
        load("digits")
