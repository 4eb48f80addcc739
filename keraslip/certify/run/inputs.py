"""Inputs and labels in blocks, from arrays and from streams of batches."""

import math
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import keras
import numpy as np

from keraslip.backend.structure import only_input, only_target
from keraslip.certify.execution.block import Block, in_float32
from keraslip.checks import check_array, check_count, check_labels, wrong_count
from keraslip.input_range import told


def blocks(
    model: Any, x: Any, y: Any, size: int, steps: int | None = None
) -> tuple[Iterator[Block], int | None]:
    """Checked samples of a model in blocks of one size, the last one smaller; and their number if known.

    Of an array `(n, *shape)` with labels, or a stream of batches `x`, `(x, y)` or `(x, y, sample_weight)`, of
    which at most `steps` are read. The model's names are those of dictionaries of inputs and labels; of
    samples outside of its range it is warned.
    """
    shape, classes = tuple(model.inputs[0].shape[1:]), model.outputs[0].shape[-1]
    steps = None if steps is None else check_count(steps, "steps")
    x, y = _named(model, x, y)
    if hasattr(x, "shape") and hasattr(x, "dtype") or isinstance(x, list):
        if steps is not None:
            raise ValueError(
                f"steps are batches of a stream; x is an array. Received: steps={steps}"
            )
        checked = _block(x, y, shape, classes)
        return told(model, _sliced(checked, size)), len(checked.x)
    if y is not None:
        raise ValueError("A stream of batches brings its own labels; do not pass y beside it.")
    if not hasattr(x, "__iter__") and not isinstance(x, keras.utils.PyDataset):
        raise ValueError(f"x must be an array or a stream of batches. Received: {type(x).__name__}")
    parts = (_named(model, *batch) for batch in _batches_of(x, steps))
    return told(model, _gathered(parts, size, shape, classes)), None


def all_samples(model: Any, x: Any, y: Any, steps: int | None) -> tuple[np.ndarray, Any]:
    """Inputs and labels of an array or a stream, whole; see `blocks`."""
    found = list(blocks(model, x, y, 1024, steps)[0])
    if not found:
        raise empty()
    whole = _together(found)
    return whole.x, whole.y


def _named(model: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Inputs and labels out of the dictionaries that they may come in."""
    return only_input(model, x), only_target(model, y)


def empty() -> ValueError:
    """What to raise where a stream yields nothing."""
    return ValueError("The data set is empty: there was no sample. Received: no batch")


def with_radii(
    stream: Iterator[Block], epsilon: np.ndarray, count: int | None
) -> Iterator[tuple[Block, np.ndarray]]:
    """Blocks with the radii of their samples: one for all, `()`, or one for each, `(n,)`.

    A wrong number of radii is a ValueError, at once if that of the samples is known.
    """
    if epsilon.ndim and count is not None and len(epsilon) != count:
        raise wrong_count(epsilon)
    return _paired(stream, epsilon)


def _paired(stream: Iterator[Block], epsilon: np.ndarray) -> Iterator[tuple[Block, np.ndarray]]:
    first = 0
    for block in stream:
        rows = slice(first, first := first + len(block.x))
        radii = epsilon[rows] if epsilon.ndim else np.full(len(block.x), float(epsilon))
        if len(radii) < len(block.x):
            raise wrong_count(epsilon)
        yield block, radii
    if epsilon.ndim and first != len(epsilon):
        raise wrong_count(epsilon)


def _block(x: Any, y: Any, shape: tuple[int, ...], classes: int) -> Block:
    x, _, off = block = in_float32(check_array(x, shape))
    if y is None:
        return block
    return Block(x, check_labels(y, classes, len(x)), off)


def _sliced(block: Block, size: int) -> Iterator[Block]:
    for first in range(0, len(block.x), size):
        rows = slice(first, first + size)
        yield Block(block.x[rows], None if block.y is None else block.y[rows], block.off[rows])


def _gathered(
    stream: Iterator[tuple[Any, Any]], size: int, shape: tuple[int, ...], classes: int
) -> Iterator[Block]:
    """Batches of any size, put together to blocks of one size."""
    waiting: list[Block] = []
    named: bool | None = None
    for x, y in stream:
        if named not in (None, y is not None):
            raise ValueError(
                "A stream of batches has labels in every batch or in none: else a wrong prediction could be "
                f"certified. Received: a batch {'without' if named else 'with'} labels after others"
            )
        named = y is not None
        waiting.append(_block(x, y, shape, classes))
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
    off = np.concatenate([part.off for part in parts])
    return Block(x, np.concatenate(y) if len(y) == len(parts) else None, off)


def _batches_of(stream: Any, steps: int | None) -> Iterator[tuple[Any, Any]]:
    """Inputs of every batch, at most so many, and its labels or `None`; what has no end is refused."""
    count = _length(stream)
    if count == math.inf and steps is None:
        raise ValueError(
            "A stream without end cannot be read to its end: pass steps, the number of batches to read. "
            f"Received: steps=None for a {type(stream).__name__}"
        )
    if isinstance(stream, keras.utils.PyDataset):
        stream = map(stream.__getitem__, range(int(min(count, steps or count))))
    return map(_parts, islice(stream, steps))


def _length(stream: Any) -> float:
    """Number of batches, infinity for a stream without end; NaN if it is not known."""
    if isinstance(stream, keras.utils.PyDataset):
        try:
            return math.inf if stream.num_batches is None else stream.num_batches
        except NotImplementedError:  # it says nothing of its length
            return math.inf
    # A tf.data.Dataset without end says -1.
    endless = hasattr(stream, "cardinality") and int(stream.cardinality()) == -1
    return math.inf if endless or isinstance(stream, cycle) else math.nan


def _parts(batch: Any) -> tuple[Any, Any]:
    parts = batch if isinstance(batch, list | tuple) else (batch,)
    return parts[0], parts[1] if len(parts) > 1 else None
