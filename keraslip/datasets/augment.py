"""Random changes of a training batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Augment = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]

PADDING = 4


def crop_flip(images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Shift each image by up to four pixels with black borders, and mirror half of them."""
    if images.ndim != 4:
        raise ValueError(
            '`augment="crop_flip"` needs images of shape (batch, height, width, channels). '
            f"Received: images of shape {images.shape}"
        )
    batch, height, width, _ = images.shape
    border = (PADDING, PADDING)
    padded = np.pad(images, ((0, 0), border, border, (0, 0)))
    top, left = generator.integers(0, 2 * PADDING + 1, (2, batch))
    mirrored = generator.integers(0, 2, batch).astype(bool)
    changed = np.empty_like(images, order="C")
    # Copying one window after the other is faster than indexing all windows at once.
    for i, (up, side, mirror) in enumerate(zip(top, left, mirrored, strict=True)):
        window = padded[i, up : up + height, side : side + width]
        changed[i] = window[:, ::-1] if mirror else window
    return changed
