"""Tiny ImageNet, on a small archive of noise in the official layout."""

import importlib.util

import numpy as np
import pytest

from keraslip.datasets import arrange_tiny_imagenet, load

CLASSES = ("n01443537", "n01629819", "n02056570")
READABLE = all(map(importlib.util.find_spec, ("PIL", "tensorflow", "tensorflow_datasets")))
reads = pytest.mark.skipif(not READABLE, reason="needs Pillow, TensorFlow and tensorflow_datasets")


def save(path, brightness, gray=False, size=64):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size) if gray else (size, size, 3), brightness, "uint8")).save(
        path
    )


@pytest.fixture
def archive(tmp_path):
    """An unpacked tiny-imagenet-200 of three classes, whose brightness tells the class."""
    root = tmp_path / "tiny-imagenet-200"
    lines = []
    for index, name in enumerate(CLASSES):
        for i in range(10):
            save(root / "train" / name / "images" / f"{name}_{i}.JPEG", 100 * index, gray=i == 0)
        save(root / "val" / "images" / f"val_{index}.JPEG", 100 * index)
        lines.append(f"val_{index}.JPEG\t{name}\t0\t0\t63\t63\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "train" / "notes.txt").write_text("not a class")
    return root


@reads
def test_official_archive_to_arrays(archive, tmp_path):
    folder = arrange_tiny_imagenet(archive, tmp_path / "data")
    assert folder == tmp_path / "data" / "tiny_imagenet"
    data = load("tiny_imagenet", tmp_path / "data")
    assert str(data) == "tiny_imagenet: 27 train, 3 validation, 3 test, 64 x 64 x 3, 3 classes"
    assert data.class_names == CLASSES
    for x, y in ((data.x_train, data.y_train), (data.x_val, data.y_val)):
        np.testing.assert_allclose(x.mean((1, 2, 3)), 100 * y / 255, atol=0.02)
    assert sorted(data.y_test) == [0, 1, 2]


@reads
def test_images_of_another_size_are_refused(archive, tmp_path):
    arrange_tiny_imagenet(archive, tmp_path)
    save(tmp_path / "tiny_imagenet" / "train" / CLASSES[0] / "large.JPEG", 0, size=80)
    with pytest.raises(RuntimeError, match="64 x 64 JPEG or PNG files in train/CLASS/"):
        load("tiny_imagenet", tmp_path)


def test_missing_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="(?s)imagenet-200.zip.*arrange_tiny_imagenet"):
        load("tiny_imagenet", tmp_path)


@reads
def test_nothing_is_overwritten_and_a_broken_copy_is_no_data_set(archive, tmp_path):
    (archive / "val" / "images" / "val_2.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match="val_2.JPEG"):
        arrange_tiny_imagenet(archive, tmp_path / "data")
    assert not (tmp_path / "data" / "tiny_imagenet").exists()
    save(archive / "val" / "images" / "val_2.JPEG", 0)
    arrange_tiny_imagenet(archive, tmp_path / "data")
    with pytest.raises(FileExistsError, match="exists already. Received: data_dir="):
        arrange_tiny_imagenet(archive, tmp_path / "data")


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be the unpacked archive tiny-imagenet-200"):
        arrange_tiny_imagenet(tmp_path, tmp_path)
