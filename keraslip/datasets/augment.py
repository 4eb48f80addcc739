"""Random changes of a training batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Augment = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]

PADDING = 4


def crop_flip(images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Shift each image by up to four pixels with black borders, and mirror half of them.

    Args:
        images: Array of shape (batch, height, width, channels).
        generator: Where the randomness comes from.

    Returns:
        An array of the same shape and dtype.
    """
    if images.ndim != 4:
        raise ValueError(
            '`augment="crop_flip"` needs images of shape (batch, height, width, channels). '
            f"Received: images of shape {images.shape}"
        )
    batch, height, width, _ = images.shape
    border = (PADDING, PADDING)
    padded = np.pad(images, ((0, 0), border, border, (0, 0)))
    # All windows of the padded images, as a view: (batch, top, left, channels, height, width).
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    top, left = generator.integers(0, 2 * PADDING + 1, (2, batch))
    cropped = np.moveaxis(windows[np.arange(batch), top, left], 1, -1)
    mirrored = generator.integers(0, 2, (batch, 1, 1, 1)).astype(bool)
    return np.ascontiguousarray(np.where(mirrored, cropped[:, :, ::-1], cropped))
