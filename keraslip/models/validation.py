"""Checks of what users pass: epsilon, inputs, labels and the model itself."""

import math
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keraslip.rules import UnsupportedLayerError
from keraslip.rules.walk import is_graph, visits


def check_epsilon(epsilon: Any, name: str = "epsilon") -> float:
    """An epsilon as a float.

    Args:
        epsilon: A number >= 0, in raw input units.
        name: What to call it in the message; another number >= 0 is no radius.

    Raises:
        ValueError: if it is not a finite number >= 0.
    """
    number = isinstance(epsilon, int | float | np.integer | np.floating)
    if not number or isinstance(epsilon, bool) or not 0.0 <= float(epsilon) < math.inf:
        radius = ", an L2 radius in raw input units" if "epsilon" in name else ""
        raise ValueError(
            f"{name} must be a finite number >= 0{radius}. Received: {name}={epsilon!r}"
        )
    return float(epsilon)


def check_bounded(model: Any) -> None:
    """Raises for a model whose logits cannot be bounded.

    Raises:
        UnsupportedLayerError: for a layer without a rule, or a model with a `call` of its own.
        ValueError: if the last layer is not linear, or the outputs are not logits of two classes or more.
    """
    check_graph(model)
    if _is_softmax(model.outputs[0]._keras_history.operation):
        raise ValueError(_not_linear(model))
    for visit in visits(model):
        if visit.problem is not None:
            raise UnsupportedLayerError(visit.problem)
    if model.warm_starts.problem is not None:
        raise model.warm_starts.problem
    shape = tuple(model.outputs[0].shape)
    if len(shape) != 2 or shape[1] is None or shape[1] < 2:
        raise ValueError(
            "The model must end in logits of shape (batch, classes) with two classes or more. "
            f"Received: output shape {shape}"
        )
    if not model.warm_starts.ends_linear:
        raise ValueError(_not_linear(model))


def check_graph(model: Any) -> None:
    """Raises unless a model computes what its graph of layers says.

    Raises:
        UnsupportedLayerError: for a subclass with a `call` of its own, or a model without a graph.
    """
    problem = graph_problem(model)
    if problem is not None:
        raise UnsupportedLayerError(problem)


def graph_problem(model: Any) -> str | None:
    """Why the graph of a model is not what it computes, or `None`."""
    named = f"{model.name!r} is a {type(model).__name__}"
    if not hasattr(model, "inputs"):
        return f"{named} without a graph: build it from keras.Input, which the bound starts at"
    if is_graph(model):
        return None
    return (
        f"{named} with a call() of its own: the bound follows the graph of layers from inputs to outputs, "
        "and would miss what call() does beside it. Put that into the graph instead, as a layer with a "
        "rule (keraslip.register_rule)"
    )


def _not_linear(model: Any) -> str:
    last = model.outputs[0]._keras_history.operation
    return (
        "The model must end in a linear layer: worst-case logits are taken from its weights. Remove the "
        "activation at the end (softmax included: losses and certificates work on logits). "
        f"Received: last layer {last.name!r} of type {type(last).__name__}"
    )


def _is_softmax(operation: Any) -> bool:
    fused = getattr(operation, "activation", None) is keras.activations.softmax
    return fused or type(operation).__name__ in ("Softmax", "LogSoftmax")


def check_images(x: Any, name: str = "x") -> None:
    """Raises if an array holds NaN or infinity.

    Raises:
        ValueError: naming the first bad sample.
    """
    if np.issubdtype(x.dtype, np.integer) or x.dtype == bool:
        return
    for start in range(0, len(x), 4096):
        bad = ~np.isfinite(x[start : start + 4096]).reshape(len(x[start : start + 4096]), -1).all(
            axis=1
        )
        if bad.any():
            raise ValueError(
                f"{name} holds NaN or infinity; no bound exists there. Remove these samples. "
                f"Received: first bad sample at index {start + int(np.argmax(bad))}"
            )


def check_labels(y: Any, classes: int) -> None:
    """Raises unless labels are class indices in range, or one-hot.

    Args:
        y: Array `(n,)` or `(n, 1)` of integers, or `(n, classes)`.
        classes: Number of classes.

    Raises:
        ValueError: saying what is wrong.
    """
    if y.ndim == 2 and y.shape[1] == classes and classes > 1:
        if not np.isin(y, (0, 1)).all() or not (y.sum(axis=1) == 1).all():
            raise ValueError(
                "Labels of shape (n, classes) must be one-hot: a single 1 in every row. "
                f"Received: rows such as {y[(y.sum(axis=1) != 1) | ~np.isin(y, (0, 1)).all(axis=1)][0]}"
            )
        return
    if y.ndim not in (1, 2) or (y.ndim == 2 and y.shape[1] != 1):
        raise ValueError(
            f"Labels must be class indices (n,) or one-hot (n, {classes}). Received: shape {y.shape}"
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            "Class indices must be integers; convert them with y.astype('int32'). "
            f"Received: dtype {y.dtype}"
        )
    if y.size and (y.min() < 0 or y.max() >= classes):
        raise ValueError(
            f"Labels must lie in 0..{classes - 1}, for the model has {classes} classes. "
            f"Received: labels from {y.min()} to {y.max()}"
        )


def check_data(x: Any, y: Any, classes: int, input_shape: tuple[int, ...]) -> Any:
    """Checks training or test data; arrays whole, streams on their first batch.

    Args:
        x: Inputs, or a stream of batches: `tf.data.Dataset`, `PyDataset`, `DataLoader`, generator.
        y: Labels, or `None` for a stream.
        classes: Number of classes.
        input_shape: Shape of one input.

    Returns:
        `x`, or a stream that yields what `x` would have.

    Raises:
        ValueError: saying what is wrong.
    """
    batch, x = ((x, y), x) if y is not None else _first_batch(x)
    if not isinstance(batch, list | tuple) or len(batch) < 2:
        raise ValueError(
            "Certified training needs labels: pass y, or a data set of (x, y) or (x, y, sample_weight). "
            f"Received: {type(batch).__name__}"
        )
    inputs, labels = (keras.ops.convert_to_numpy(part) for part in batch[:2])
    if not len(inputs):
        raise ValueError(f"The data set is empty. Received: x of shape {inputs.shape}")
    if tuple(inputs.shape[1:]) != input_shape:
        raise ValueError(
            f"Inputs must have shape (batch, {', '.join(map(str, input_shape))}), as the model's input. "
            f"Received: {tuple(inputs.shape)}"
        )
    if len(inputs) != len(labels):
        raise ValueError(f"x and y differ in length. Received: {len(inputs)} and {len(labels)}")
    check_images(inputs)
    check_labels(labels, classes)
    return x


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
