"""Inputs and labels in blocks, from arrays and from streams of batches."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from keraslip.models.validation import check_images, check_labels


class Block(NamedTuple):
    """Some samples.

    Args:
        x: Inputs `(n, *shape)`, float32.
        y: Classes `(n,)`, or `None`.
    """

    x: np.ndarray
    y: np.ndarray | None


def blocks(
    x: Any, y: Any, size: int, shape: tuple[int, ...], classes: int
) -> tuple[Iterator[Block], int | None]:
    """Checked samples in blocks of one size, the last one smaller.

    Args:
        x: Inputs `(n, *shape)`, or a stream of batches `x`, `(x, y)` or `(x, y, sample_weight)`.
        y: Labels, class indices or one-hot, or `None`; none for a stream.
        size: Samples in a block.
        shape: Shape of one input.
        classes: Number of classes.

    Returns:
        The blocks, and the number of samples if it is known.

    Raises:
        ValueError: saying what is wrong.
    """
    if hasattr(x, "shape") and hasattr(x, "dtype") or isinstance(x, list):
        x = keras.ops.convert_to_numpy(x)
        _check_shape(x, shape)
        check_images(x)
        if y is not None:
            y = np.asarray(keras.ops.convert_to_numpy(y))
            if y.ndim and len(y) != len(x):
                raise ValueError(f"x and y differ in length. Received: {len(x)} and {len(y)}")
        checked = _block(x, y, shape, classes)
        return _sliced(checked, size), len(x)
    if y is not None:
        raise ValueError("A stream of batches brings its own labels; do not pass y beside it.")
    if not hasattr(x, "__iter__") and not isinstance(x, keras.utils.PyDataset):
        raise ValueError(f"x must be an array or a stream of batches. Received: {type(x).__name__}")
    return _gathered(x, size, shape, classes), None


def _check_shape(x: np.ndarray, shape: tuple[int, ...]) -> None:
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape or not len(x):
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"x must have shape (n, {wanted}) with n >= 1. Received: {x.shape}")
    if x.dtype.kind not in "iufb":
        raise ValueError(f"x must hold real numbers. Received: dtype {x.dtype}")


def _block(x: Any, y: Any, shape: tuple[int, ...], classes: int) -> Block:
    x = keras.ops.convert_to_numpy(x)
    _check_shape(x, shape)
    check_images(x)
    if y is None:
        return Block(x.astype("float32"), None)
    y = np.asarray(keras.ops.convert_to_numpy(y))
    check_labels(y, classes)
    y = y.argmax(axis=-1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    return Block(x.astype("float32"), y.astype("int64"))


def _sliced(block: Block, size: int) -> Iterator[Block]:
    for first in range(0, len(block.x), size):
        rows = slice(first, first + size)
        yield Block(block.x[rows], None if block.y is None else block.y[rows])


def _batches(stream: Any) -> Iterator[Any]:
    if isinstance(stream, keras.utils.PyDataset):
        return (stream[i] for i in range(stream.num_batches or 0))
    return iter(stream)


def _gathered(stream: Any, size: int, shape: tuple[int, ...], classes: int) -> Iterator[Block]:
    """Batches of any size, put together to blocks of one size."""
    waiting: list[Block] = []
    for batch in _batches(stream):
        parts = batch if isinstance(batch, list | tuple) else (batch,)
        waiting.append(_block(parts[0], parts[1] if len(parts) > 1 else None, shape, classes))
        while sum(len(block.x) for block in waiting) >= size:
            whole = _together(waiting)
            first, *rest = _sliced(whole, size)
            yield first
            waiting = rest
    if waiting:
        yield _together(waiting)


def _together(parts: list[Block]) -> Block:
    y = [part.y for part in parts if part.y is not None]
    x = np.concatenate([part.x for part in parts])
    return Block(x, np.concatenate(y) if len(y) == len(parts) else None)
