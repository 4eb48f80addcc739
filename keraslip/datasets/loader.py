"""One function for all data sets: where each comes from and what it is divided into."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from keraslip.datasets import digits, own_arrays, prepared, tiny_imagenet
from keraslip.datasets.dataset import Dataset, Images, Labels, RawDataset
from keraslip.datasets.splits import hold_out, validation_count
from keraslip.typing import FilePath

# Share of the training images that is held out by default: 144, 5,000, 5,000, 5,000 and 10,000.
VALIDATION = {
    "digits": 0.1,
    "mnist": 1 / 12,
    "fashion_mnist": 1 / 12,
    "cifar10": 0.1,
    "tiny_imagenet": 0.1,
}


def load(
    name: str,
    data_dir: FilePath | None = None,
    *,
    validation_split: float | int | None = None,
    seed: int = 0,
    download: bool = False,
) -> Dataset:
    """Load a data set into memory: images in [0, 1], or samples of your own, and a validation part.

    Validation images are always taken from the training images, never from the test images.
    The test images depend on no argument: those of the official split, and for `"digits"`, which
    has none, a fixed stratified fifth. All come back as float32: 0.2 GB for the MNISTs, 0.7 GB for
    CIFAR-10, 5.4 GB for Tiny ImageNet. If only a slice was prepared, that slice is what is loaded.

    Args:
        name: `"digits"` (scikit-learn, comes with the package), `"mnist"`, `"fashion_mnist"`,
            `"cifar10"` (tensorflow_datasets), `"tiny_imagenet"` (see `arrange_tiny_imagenet`), or
            the path of an `.npz` file with x_train, y_train, x_test, y_test, and x_val, y_val and
            class_names if you like: samples of any shape, uint8 divided by 255, others in their
            own units.
        data_dir: The folder of tensorflow_datasets. Default: the environment variable
            TFDS_DATA_DIR, else `~/tensorflow_datasets`.
        validation_split: How many of the training images to hold out: a fraction in [0, 1) or a
            number of images. Default: 5,000 for the MNISTs and CIFAR-10, a tenth for the others.
        seed: Decides which training images are held out; `"digits"` are stratified by class.
        download: Whether tensorflow_datasets may download and prepare what is not there yet.

    Returns:
        A `Dataset` with x_train, y_train, x_val, y_val, x_test, y_test.

    Raises:
        ValueError: If `name`, `validation_split` or `seed` is not one of the above.
        FileNotFoundError: If the data set is not prepared; the message says how to get it.
        ImportError: If a package is missing; the message says how to install it.
        RuntimeError: If a download fails or prepared files cannot be read.

    Example:

    ```python
    mnist = keraslip.datasets.load("mnist", download=True)
    model.fit(mnist.x_train, mnist.y_train, validation_data=(mnist.x_val, mnist.y_val))
    ```
    """
    if not is_known(name):
        raise ValueError(
            f"`name` must be one of {', '.join(VALIDATION)}, or end in .npz. Received: name={name!r}"
        )
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must be an integer in [0, 2**32). Received: seed={seed!r}")
    if name not in VALIDATION:
        return own_arrays.load(name, validation_split, int(seed))
    split = VALIDATION[name] if validation_split is None else validation_split
    validation_count(split, 2**62)  # a bad value is told before gigabytes are read
    raw = _read(name, data_dir, download)
    train, val = hold_out(
        raw.y_train, validation_count(split, len(raw.y_train)), int(seed), name == "digits"
    )
    return Dataset(
        *_part(raw.x_train, raw.y_train, train, raw.highest),
        *_part(raw.x_train, raw.y_train, val, raw.highest),
        *_part(raw.x_test, raw.y_test, slice(None), raw.highest),
        name=name,
        class_names=raw.class_names,
    )


def is_known(name: str) -> bool:
    """Whether `load` takes a name: a data set's, or one of an `.npz` file."""
    return name in VALIDATION or name.endswith(own_arrays.SUFFIX)


def _read(name: str, data_dir: FilePath | None, download: bool) -> RawDataset:
    if name == "digits":
        return digits.read()
    folder = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    if name == "tiny_imagenet":
        return tiny_imagenet.read(folder.expanduser())
    return prepared.read(name, folder.expanduser(), download)


def _part(x: Any, y: Any, rows: Any, highest: int) -> tuple[Images, Labels]:
    # A float32 divisor keeps NumPy from going through float64, which would double the memory.
    return np.divide(x[rows], np.float32(highest)), y[rows].astype("int32")
