"""Random changes of a training batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Augment = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]

#: Of `shift_rotate`: a share of each side (two pixels of 28), and radians (ten degrees).
SHIFT, ANGLE = 1 / 14, np.pi / 18


def crop_flip(images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Shift each image by up to four pixels with black borders, and mirror half of them."""
    return _crop_and_flip(images, generator, 4, "crop_flip")


def crop2_flip(images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Shift each image by up to two pixels with black borders, and mirror half of them."""
    return _crop_and_flip(images, generator, 2, "crop2_flip")


def flip(images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Mirror half of the images."""
    return _crop_and_flip(images, generator, 0, "flip")


def _crop_and_flip(
    images: NDArray[Any], generator: np.random.Generator, padding: int, name: str
) -> NDArray[Any]:
    batch, height, width, _ = _shape(images, name)
    border = (padding, padding)
    padded = np.pad(images, ((0, 0), border, border, (0, 0)))
    top, left = generator.integers(0, 2 * padding + 1, (2, batch))
    mirrored = generator.integers(0, 2, batch).astype(bool)
    changed = np.empty_like(images, order="C")
    # Copying one window after the other is faster than indexing all windows at once.
    for i, (up, side, mirror) in enumerate(zip(top, left, mirrored, strict=True)):
        window = padded[i, up : up + height, side : side + width]
        changed[i] = window[:, ::-1] if mirror else window
    return changed


def shift_rotate(images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Rotate each image by up to ten degrees about its center, and shift it by up to 1/14 of each side.

    Between pixels values are interpolated linearly, so that none leaves the range that there was; what
    comes in from outside is black.
    """
    batch, height, width, channels = _shape(images, "shift_rotate")
    angle = generator.uniform(-ANGLE, ANGLE, batch)
    shift = SHIFT * generator.uniform(-1, 1, (batch, 2)) * [height, width]
    center = np.array([height - 1, width - 1]) / 2
    changed = np.empty_like(images, order="C")
    for i, (cos, sin) in enumerate(zip(np.cos(angle), np.sin(angle), strict=True)):
        turn = np.array([[cos, -sin], [sin, cos]])
        offset = center - turn @ (center + shift[i])
        for channel in range(channels):
            ndimage.affine_transform(
                images[i, ..., channel], turn, offset, output=changed[i, ..., channel], order=1
            )
    return changed


#: By the name that `ShuffledBatches` and the command line take.
AUGMENTATIONS: dict[str, Augment] = {
    **{"crop_flip": crop_flip, "crop2_flip": crop2_flip, "flip": flip},
    **{"shift_rotate": shift_rotate},
}


def _shape(images: NDArray[Any], name: str) -> tuple[int, ...]:
    if images.ndim != 4:
        raise ValueError(
            f'`augment="{name}"` needs images of shape (batch, height, width, channels). '
            f"Received: images of shape {images.shape}"
        )
    return images.shape
