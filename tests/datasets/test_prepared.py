"""Data sets of tensorflow_datasets: small ones written here, real ones where they are prepared."""

import importlib.util
import sys

import numpy as np
import pytest

from keraslip.datasets import load, prepared, quiet
from tests.datasets.test_load import check, images

tfds = pytest.importorskip("tensorflow_datasets")
DOWNLOAD_AND_PREPARE = tfds.core.DatasetBuilder.download_and_prepare
TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
needs_tensorflow = pytest.mark.skipif(
    not TENSORFLOW, reason="TensorFlow, which writes these files, is not installed"
)


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def small_mnist(request, tmp_path_factory):
    """A folder with 60 and 20 images of noise in the place of MNIST, and those images."""
    if not TENSORFLOW:
        pytest.skip("TensorFlow, which writes these files, is not installed")
    return write_mnist(tmp_path_factory.mktemp(request.param), request.param)


def write_mnist(folder, file_format="tfrecord", name="mnist"):
    builder = tfds.builder(name, data_dir=folder, file_format=file_format)
    return folder, prepare(builder)


def prepare(builder):
    """Let a builder of MNIST write images of noise, as it would write the downloaded ones."""
    rng = np.random.default_rng(0)
    parts = {
        name: (rng.integers(0, 256, (n, 28, 28, 1), dtype=np.uint8), rng.integers(0, 10, n))
        for name, n in (("train", 60), ("test", 20))
    }

    def examples(x, y):
        for key, (image, label) in enumerate(zip(x, y, strict=True)):
            yield key, {"image": image, "label": int(label)}

    tfds.disable_progress_bar()
    offline = tfds.download.DownloadConfig(try_download_gcs=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(builder),
            "_split_generators",
            lambda *_: {name: examples(*part) for name, part in parts.items()},
        )
        DOWNLOAD_AND_PREPARE(builder, download_config=offline)
    return parts


def test_every_image_comes_back_with_its_label(small_mnist):
    folder, parts = small_mnist
    data = load("mnist", folder)
    check(data)
    assert str(data) == "mnist: 55 train, 5 validation, 20 test, 28 x 28 x 1, 10 classes"
    x = np.concatenate([data.x_train, data.x_val, data.x_test])
    y = np.concatenate([data.y_train, data.y_val, data.y_test])
    labels = {
        (image / np.float32(255)).tobytes(): label
        for images_, labels_ in parts.values()
        for image, label in zip(images_, labels_, strict=True)
    }
    assert [labels[image.tobytes()] for image in x] == y.tolist()
    assert images(data, "test") == {
        (image / np.float32(255)).tobytes() for image in parts["test"][0]
    }


@needs_tensorflow
def test_fashion_mnist_goes_the_same_way(tmp_path):
    _, parts = write_mnist(tmp_path, "array_record", "fashion_mnist")
    data = load("fashion_mnist", tmp_path)
    check(data)
    assert (len(data.x_train), len(data.x_val), len(data.x_test)) == (55, 5, 20)
    assert data.class_names[0] == "T-shirt/top" and data.num_classes == 10
    assert images(data, "test") == {
        (image / np.float32(255)).tobytes() for image in parts["test"][0]
    }


def test_test_images_never_depend_on_seed_or_split(small_mnist):
    folder, _ = small_mnist
    one, other = load("mnist", folder), load("mnist", folder, seed=1, validation_split=20)
    np.testing.assert_array_equal(one.x_test, other.x_test)
    assert len(other.x_val) == 20
    assert not images(other, "val") & (images(other, "test") | images(other, "train"))


def test_the_folder_is_taken_from_the_environment(small_mnist, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(small_mnist[0]))
    assert len(load("mnist").x_test) == 20


def test_loading_prints_nothing(small_mnist, capsys, caplog):
    load("mnist", small_mnist[0])
    assert capsys.readouterr().out == ""
    assert caplog.text == ""


@needs_tensorflow
@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_damaged_files_are_named(tmp_path, file_format):
    write_mnist(tmp_path, file_format)
    (records,) = tmp_path.glob("mnist/*/mnist-train*")
    records.write_bytes(records.read_bytes()[: records.stat().st_size // 2])
    with pytest.raises(RuntimeError, match="mnist.*cannot be read.*prepare the data set again"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_a_missing_data_set_says_how_to_get_it(tmp_path, name):
    with pytest.raises(FileNotFoundError) as error:
        load(name, tmp_path / "none")
    message = str(error.value)
    assert f"keraslip.datasets.load('{name}', '{tmp_path / 'none'}', download=True)" in message
    assert "download_and_prepare()" in message and "TFDS_DATA_DIR" in message
    assert not (tmp_path / "none").exists()


@needs_tensorflow
def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    def no_network(self, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(RuntimeError, match="(?s)could not .*no route to host.*TFDS_DATA_DIR"):
        load("cifar10", tmp_path, download=True)


@needs_tensorflow
def test_download_prepares_what_is_missing_once(tmp_path, monkeypatch):
    wanted = []
    monkeypatch.setattr(
        tfds.core.DatasetBuilder,
        "download_and_prepare",
        lambda builder: wanted.append(builder.name) or prepare(builder),
    )
    for _ in range(2):
        assert len(load("mnist", tmp_path, download=True).x_test) == 20
    assert wanted == ["mnist"]


def test_without_tensorflow_datasets(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r'pip install "keraslip\[datasets\]"'):
        load("mnist", tmp_path)


def test_files_that_need_tensorflow_say_so_where_it_is_missing(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'needs TensorFlow.*"keraslip\[tensorflow\]"'):
        quiet.require_tensorflow("Reading mnist from TFRecord files")


def real(name, folder):
    try:
        return load(name, folder)
    except FileNotFoundError:
        pytest.skip(f"{name} is not prepared in TFDS_DATA_DIR")
    except ImportError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("name", "shape", "means"),
    [("mnist", (28, 28, 1), [0.1307]), ("cifar10", (32, 32, 3), [0.4914, 0.4822, 0.4465])],
)
def test_real_images(tfds_data_dir, name, shape, means):
    data = real(name, tfds_data_dir)
    check(data)
    assert data.input_shape == shape and data.num_classes == 10
    np.testing.assert_allclose(data.x_train[:5000].mean((0, 1, 2)), means, atol=0.02)
    assert len(data.x_val) == round(
        (len(data.x_train) + len(data.x_val)) * {"mnist": 1 / 12, "cifar10": 0.1}[name]
    )
    assert not images(data, "val") & (images(data, "test") | images(data, "train"))


def test_cifar10_has_class_names(tfds_data_dir):
    assert real("cifar10", tfds_data_dir).class_names[:2] == ("airplane", "automobile")
    assert prepared.CLASS_NAMES["cifar10"][9] == "truck"
