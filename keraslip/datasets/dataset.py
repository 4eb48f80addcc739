"""What `keraslip.datasets.load` returns, and what it makes that of."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples and their classes, in three parts that share none: images in [0, 1], or data of your own.

    Args:
        x_train, x_val, x_test: float32 arrays, of images of shape (n, height, width, channels).
        y_train, y_val, y_test: int32 arrays of shape (n,), indices into `class_names`.
        name: The name it was loaded by.
        class_names: One name a class.

    Example:

    ```python
    digits = keraslip.datasets.load("digits")
    print(digits)    # digits: 1293 train, 144 validation, 360 test, 8 x 8 x 1, 10 classes
    model.fit(digits.x_train, digits.y_train, validation_data=(digits.x_val, digits.y_val))
    ```
    """

    x_train: Images
    y_train: Labels
    x_val: Images
    y_val: Labels
    x_test: Images
    y_test: Labels
    name: str
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample; of an image (height, width, channels)."""
        return self.x_train.shape[1:]

    @property
    def input_range(self) -> tuple[float, float] | None:
        """`(0.0, 1.0)` where the samples lie in it, as images do; else `None`.

        Test samples are looked at only where there are no others: nothing of a training hangs on them.
        """
        parts = [x for x in (self.x_train, self.x_val) if len(x)] or [self.x_test]
        inside = all(not len(x) or (x.min() >= 0.0 and x.max() <= 1.0) for x in parts)
        return (0.0, 1.0) if inside else None

    @property
    def are_images(self) -> bool:
        """Whether the samples can be drawn: one or three channels of values in [0, 1]."""
        drawn = len(self.input_shape) == 3 and self.input_shape[-1] in (1, 3)
        return drawn and self.input_range is not None

    def fingerprint(self) -> str:
        """SHA-256 of all that a training reads: the samples and classes to train on and to validate with."""
        found = hashlib.sha256()
        for part in (self.x_train, self.y_train, self.x_val, self.y_val):
            found.update(f"{part.shape} {part.dtype}".encode())
            found.update(np.ascontiguousarray(part).data)
        return found.hexdigest()

    def __str__(self) -> str:
        shape = " x ".join(str(size) for size in self.input_shape)
        return (
            f"{self.name}: {len(self.x_train)} train, {len(self.x_val)} validation, "
            f"{len(self.x_test)} test, {shape}, {self.num_classes} classes"
        )

    def __repr__(self) -> str:
        return f"<Dataset {self}>"


class RawDataset(NamedTuple):
    """Images of shape (n, height, width, channels) from 0 to `highest`; classes of shape (n,)."""

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    class_names: tuple[str, ...]
    highest: int = 255
