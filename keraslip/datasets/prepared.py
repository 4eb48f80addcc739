"""Data sets that tensorflow_datasets has prepared."""

from pathlib import Path
from typing import Any

import numpy as np

from keraslip.datasets import quiet
from keraslip.datasets.dataset import RawDataset

BATCH = 1000

# Names that tensorflow_datasets only learns from the original archive.
CLASS_NAMES = {
    "cifar10": tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
}


def read(name: str, folder: Path, download: bool = False) -> RawDataset:
    """Read the official training and test images."""
    with quiet.quietly():
        tfds = quiet.import_tfds()
        builder = tfds.builder(name, data_dir=folder)
        if not builder.is_prepared():
            if not download:
                raise FileNotFoundError(_how_to_get(name, folder))
            _download(builder, name, folder)
        x_train, y_train = _split(builder, "train")
        x_test, y_test = _split(builder, "test")
    names = CLASS_NAMES.get(name) or tuple(builder.info.features["label"].names)
    return RawDataset(x_train, y_train, x_test, y_test, names)


def _how_to_get(name: str, folder: Path) -> str:
    return (
        f"The data set {name!r} is not prepared in {folder}. To download and prepare it there:\n"
        f'    python -c "import keraslip; '
        f"keraslip.datasets.load('{name}', {str(folder)!r}, download=True)\"\n"
        "or, with tensorflow_datasets alone:\n"
        f'    python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir={str(folder)!r}).download_and_prepare()\"\n"
        "If it is prepared in another folder, name that folder in the environment variable "
        "TFDS_DATA_DIR or in `data_dir`; without network, prepare it elsewhere and copy the "
        f"folder {name}/. Received: name={name!r}, data_dir={str(folder)!r}"
    )


def _download(builder: Any, name: str, folder: Path) -> None:
    quiet.require_tensorflow(f"Preparing {name}")
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise RuntimeError(
            f"tensorflow_datasets could not download and prepare {name!r} in {folder}: {error}\n"
            "Without network, prepare it elsewhere, copy the folder and name it in the "
            f"environment variable TFDS_DATA_DIR or in `data_dir`. Received: name={name!r}"
        ) from error


def _split(builder: Any, split: str) -> tuple[Any, Any]:
    random_access = builder.info.file_format.value in {"array_record", "parquet"}
    if not random_access:
        quiet.require_tensorflow(f"Reading {builder.name} from TFRecord files")
    try:
        return _from_source(builder, split) if random_access else from_tensorflow(builder, split)
    except ImportError:
        raise
    except Exception as error:
        raise RuntimeError(
            f"The prepared files in {builder.data_path} cannot be read; if they are damaged or "
            f"incomplete, delete that folder and prepare the data set again. {error}"
        ) from error


def _from_source(builder: Any, split: str) -> tuple[Any, Any]:
    source = builder.as_data_source(split=split)
    x = np.empty((len(source), *builder.info.features["image"].shape), np.uint8)
    y = np.empty(len(source), np.int64)
    for start in range(0, len(source), BATCH):
        rows = range(start, min(start + BATCH, len(source)))
        for row, sample in zip(rows, source.__getitems__(rows), strict=True):
            x[row], y[row] = sample["image"], sample["label"]
    return x, y


def from_tensorflow(builder: Any, split: str) -> tuple[Any, Any]:
    """Read one split through tf.data, in the order in which it is stored."""
    samples = builder.info.splits[split].num_examples
    x = np.empty((samples, *builder.info.features["image"].shape), np.uint8)
    y = np.empty(samples, np.int64)
    batches = builder.as_dataset(split=split, batch_size=BATCH, shuffle_files=False)
    row = 0
    for batch in quiet.import_tfds().as_numpy(batches):
        rows = slice(row, row + len(batch["label"]))
        x[rows], y[rows] = batch["image"], batch["label"]
        row = rows.stop
    if row != samples:
        raise ValueError(f"{row} of {samples} images are there.")
    return x, y
