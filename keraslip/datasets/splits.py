"""Which training images are held out for validation."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]


def validation_count(split: float | int, samples: int) -> int:
    """Turn a fraction in [0, 1) or a number of images into a number below `samples`."""
    number = isinstance(split, (int, float, np.integer, np.floating))
    if isinstance(split, bool) or not number or not 0 <= split < samples:
        raise ValueError(
            "`validation_split` must be a fraction in [0, 1) or a number of images below the "
            f"number of training images, {samples}. Received: validation_split={split!r}"
        )
    if isinstance(split, (int, np.integer)):
        return int(split)
    if split >= 1:
        raise ValueError(
            "`validation_split` must be a fraction in [0, 1), or an integer for a number of "
            f"images. Received: validation_split={split!r}"
        )
    return min(round(split * samples), samples - 1)


def hold_out(y: NDArray[np.int64], count: int, seed: int, stratify: bool) -> tuple[Rows, Rows]:
    """Divide the rows of `y` at random into two parts in rising order, the second of `count` rows.

    If stratified, both hold the classes in the proportions of `y`: neither may be smaller than their number.
    """
    if stratify and count:
        return _stratified(y, count, seed)
    # RandomState's stream is frozen: every version of NumPy holds out the same images.
    order = np.random.RandomState(seed).permutation(len(y))
    return np.sort(order[: len(y) - count]), np.sort(order[len(y) - count :])


def _stratified(y: NDArray[np.int64], count: int, seed: int) -> tuple[Rows, Rows]:
    from sklearn.model_selection import train_test_split

    classes = len(np.unique(y))
    if min(count, len(y) - count) < classes:
        raise ValueError(
            f"`validation_split` must leave at least one image of each of the {classes} classes "
            f"in both parts. Received: {count} of {len(y)} images"
        )
    kept, held = train_test_split(np.arange(len(y)), test_size=count, stratify=y, random_state=seed)
    return np.sort(kept), np.sort(held)
