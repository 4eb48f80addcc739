"""A data set as it was stored: whole numbers, and no validation part yet."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class RawDataset(NamedTuple):
    """Images of shape (n, height, width, channels) from 0 to `highest`; classes of shape (n,)."""

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    class_names: tuple[str, ...]
    highest: int = 255
