"""Tiny ImageNet, which tensorflow_datasets cannot download: read from a folder of images."""

import shutil
from pathlib import Path

from keraslip.datasets import prepared, quiet
from keraslip.datasets.dataset import RawDataset
from keraslip.typing import FilePath

SHAPE = (64, 64, 3)  # some of its files are gray; they are read as RGB


def read(folder: Path) -> RawDataset:
    """Read `folder/tiny_imagenet/{train,test}/CLASS/*.JPEG`."""
    root = folder / "tiny_imagenet"
    if not all((root / split).is_dir() for split in ("train", "test")):
        raise FileNotFoundError(_how_to_get(root, folder))
    with quiet.quietly():
        tfds = quiet.import_tfds()
        quiet.require_tensorflow("Reading tiny_imagenet")
        builder = tfds.ImageFolder(str(root), shape=SHAPE)
        try:
            x_train, y_train = prepared.from_tensorflow(builder, "train")
            x_test, y_test = prepared.from_tensorflow(builder, "test")
        except Exception as error:
            raise RuntimeError(
                f"The images in {root} cannot be read: {SHAPE[0]} x {SHAPE[1]} JPEG or PNG files "
                f"in train/CLASS/ and test/CLASS/ are expected. {error}"
            ) from error
    return RawDataset(x_train, y_train, x_test, y_test, tuple(builder.info.features["label"].names))


def _how_to_get(root: Path, folder: Path) -> str:
    return (
        f"The data set 'tiny_imagenet' is not in {root}, and tensorflow_datasets cannot download "
        "it. Get tiny-imagenet-200.zip (Stanford, course CS231n), unpack it and arrange it with\n"
        '    python -c "import keraslip; '
        f"keraslip.datasets.arrange_tiny_imagenet('tiny-imagenet-200', {str(folder)!r})\"\n"
        "which writes tiny_imagenet/train/CLASS/*.JPEG and tiny_imagenet/test/CLASS/*.JPEG. If "
        "that is done in another folder, name it in the environment variable TFDS_DATA_DIR or in "
        f"`data_dir`. Received: name='tiny_imagenet', data_dir={str(folder)!r}"
    )


def arrange_tiny_imagenet(source: FilePath, data_dir: FilePath) -> Path:
    """Copy the unpacked official archive into the layout that `load("tiny_imagenet")` reads.

    The official test images have no labels, so the official validation images are the test
    images here, as in published results; `load` holds validation images out of the training set.

    Args:
        source: The folder tiny-imagenet-200 with train/ and val/ of the official archive.
        data_dir: The folder in which to make tiny_imagenet/.

    Returns:
        The path of the folder tiny_imagenet.

    Raises:
        FileNotFoundError: If `source` is not that folder.
        FileExistsError: If `data_dir` has a folder tiny_imagenet already.

    Example:

    ```python
    keraslip.datasets.arrange_tiny_imagenet("tiny-imagenet-200", "data")
    tiny = keraslip.datasets.load("tiny_imagenet", data_dir="data")
    ```
    """
    source, target = Path(source).expanduser(), Path(data_dir).expanduser() / "tiny_imagenet"
    annotations = source / "val" / "val_annotations.txt"
    if not annotations.is_file() or not (source / "train").is_dir():
        raise FileNotFoundError(
            "`source` must be the unpacked archive tiny-imagenet-200, with train/ and "
            f"val/val_annotations.txt. Received: source={str(source)!r}"
        )
    if target.exists():
        raise FileExistsError(f"{target} exists already. Received: data_dir={str(data_dir)!r}")
    partial = target.with_name("tiny_imagenet.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _copy_train(source, partial)
    _copy_test(source, partial, annotations.read_text().splitlines())
    return partial.rename(target)  # only a complete copy gets the name


def _copy_train(source: Path, target: Path) -> None:
    for folder in sorted((source / "train").iterdir()):
        if (folder / "images").is_dir():
            shutil.copytree(folder / "images", target / "train" / folder.name)


def _copy_test(source: Path, target: Path, annotations: list[str]) -> None:
    for line in annotations:
        image, class_name = line.split("\t")[:2]
        folder = target / "test" / class_name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "val" / "images" / image, folder / image)
