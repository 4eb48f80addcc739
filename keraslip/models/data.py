"""Checks of what `fit` and `evaluate` are given: arrays whole, streams on their first batch."""

import types
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keraslip.backend.structure import only_input, only_target
from keraslip.checks import check_images, check_labels


def check_data(model: Any, x: Any, y: Any, look: Callable[[Any], None] | None = None) -> Any:
    """Checks training or test data, arrays whole, streams on their first batch.

    Returns `x`, or a stream that yields what `x` would have.
    """
    batch, x = ((x, y), x) if y is not None else _first_batch(x)
    if not isinstance(batch, list | tuple) or len(batch) < 2:
        raise _no_labels(type(batch).__name__)
    inputs = keras.ops.convert_to_numpy(only_input(model, batch[0]))
    if not len(inputs):
        raise ValueError(f"The data set is empty. Received: x of shape {inputs.shape}")
    check_batch(model, inputs, batch[1])
    check_images(inputs)
    if look is not None:
        look(inputs)
    return x


def check_batch(model: Any, x: Any, y: Any) -> None:
    """Checks the shape of a batch, and its labels."""
    if y is None:
        raise _no_labels("y=None")
    shape, wanted = np.shape(only_input(model, x)), tuple(model.inputs[0].shape[1:])
    if tuple(shape[1:]) != wanted:
        raise ValueError(
            f"Inputs must have shape (batch, {', '.join(map(str, wanted))}), as the model's input. "
            f"Received: {tuple(shape)}"
        )
    check_labels(only_target(model, y), model.outputs[0].shape[-1], shape[0])


def _no_labels(received: str) -> ValueError:
    return ValueError(
        "Certified training needs labels: pass y, or a data set of (x, y) or (x, y, sample_weight). "
        f"Received: {received}"
    )


def check_validation(data: Any, check: Callable[[Any, Any], Any]) -> Any:
    """Checks `validation_data`; returns them, or a stream that yields what they would have."""
    if not isinstance(data, list | tuple):
        return check(data, None)
    if len(data) not in (2, 3) or data[1] is None:
        raise ValueError(
            "validation_data need labels: (x, y), (x, y, sample_weight) or a stream of such batches. "
            f"Received: {len(data)} parts"
        )
    check(data[0], data[1])
    return data


def _first_batch(stream: Any) -> tuple[Any, Any]:
    """The first batch of a stream and a stream that still has it."""
    if isinstance(stream, types.GeneratorType):
        try:
            first = next(stream)
        except StopIteration:
            raise ValueError("The data set is empty. Received: an exhausted generator") from None
        return first, _chained(first, stream)
    if hasattr(stream, "dtype") or not hasattr(stream, "__iter__"):
        raise ValueError(f"Labels are missing: pass y. Received: x of type {type(stream).__name__}")
    if isinstance(stream, keras.utils.PyDataset):
        if stream.num_batches == 0:
            raise ValueError("The data set is too small for one batch: it has none.")
        return stream[0], stream
    if hasattr(stream, "collate_fn") and hasattr(stream.dataset, "__getitem__"):
        first = _first_of_loader(stream)
    else:
        first = next(iter(stream.take(1) if hasattr(stream, "take") else stream), None)
    if first is None:
        raise ValueError("The data set is too small for one batch: it yields none.")
    return first, stream


def _first_of_loader(loader: Any) -> Any:
    """A batch of a PyTorch loader of indexed samples, `None` if it has none."""
    # The samples are read directly, for an iterator would advance the shuffling.
    if len(loader) == 0:
        return None
    if loader.batch_sampler is None:
        return loader.collate_fn(loader.dataset[0])
    size = min(loader.batch_size or 1, len(loader.dataset))
    return loader.collate_fn([loader.dataset[i] for i in range(size)])


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    # A generator function, for Keras takes generators and no other iterators.
    yield first
    yield from rest
