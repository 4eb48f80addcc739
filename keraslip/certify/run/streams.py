"""Streams of batches: how far they are read."""

import math
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import keras


def batches_of(stream: Any, steps: int | None) -> Iterator[tuple[Any, Any]]:
    """Inputs of every batch, and its labels or `None`.

    Args:
        stream: Batches `x`, `(x, y)` or `(x, y, sample_weight)`.
        steps: How many to read, at most; all if `None`.

    Raises:
        ValueError: for a stream that is known to have no end, without steps.
    """
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
