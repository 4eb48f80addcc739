"""Checks of what users pass to an attack: clear errors instead of silent nonsense."""

from typing import Any

import keras
import numpy as np

from keraslip.checks import pair_of_numbers

Range = tuple[float, float] | None


def model_range(model: keras.Model) -> Range:
    """Input range a compiled keraslip model declares, else `(0, 1)`."""
    if hasattr(model, "input_range") and getattr(model, "compiled", False):
        return model.input_range  # None means unbounded
    return 0.0, 1.0


def check_range(input_range: Any) -> tuple[float, float]:
    """Lowest and highest input as float32 values, infinite where there is none."""
    if input_range is None:
        return -np.inf, np.inf
    low, high = (float(np.float32(bound)) for bound in pair_of_numbers(input_range))
    if not low < high:
        raise ValueError(
            "`input_range` must be None or a pair (lowest, highest) of numbers. "
            f"Received: input_range={input_range!r}"
        )
    return low, high


def check_inputs(x: Any, low: float, high: float) -> np.ndarray:
    """Return `x` as a float32 array with finite entries inside `[low, high]`."""
    x = np.array(keras.ops.convert_to_numpy(x), "float32", order="C")
    if x.ndim < 2:
        raise ValueError(f"`x` must have shape (batch, ...). Received: x of shape {x.shape}")
    if not np.all(np.isfinite(x)):
        raise ValueError("`x` must be finite. Received: x with NaN or infinite entries")
    if x.size and (x.min() < low or x.max() > high):
        raise ValueError(
            f"`x` must lie in the input range [{low:g}, {high:g}]; pass `input_range=` if the "
            "model was trained on another one, None for no range. "
            f"Received: x between {x.min():g} and {x.max():g}"
        )
    return x


def check_labels(labels: Any, samples: int, classes: int, name: str = "y") -> np.ndarray:
    """Return labels as int32 array of shape `(samples,)` with entries in `[0, classes)`."""
    array = keras.ops.convert_to_numpy(labels)
    if array.dtype.kind not in "iu" or array.shape not in {(samples,), (samples, 1)}:
        raise ValueError(
            f"`{name}` must hold one integer class for each of the {samples} samples. "
            f"Received: {name} of shape {array.shape} and dtype {array.dtype}"
        )
    if array.size and (array.min() < 0 or array.max() >= classes):
        raise ValueError(
            f"`{name}` must lie in [0, {classes}), as the model has {classes} logits. "
            f"Received: {name} between {array.min()} and {array.max()}"
        )
    return array.reshape(samples).astype("int32")


def check_epsilon(epsilon: Any, samples: int) -> np.ndarray:
    """Return one finite, non-negative float64 radius for each sample."""
    array = np.asarray(epsilon)
    if array.dtype.kind not in "iuf" or array.shape not in {(), (samples,)}:
        raise ValueError(
            "`epsilon` must be a number or one number for each sample. "
            f"Received: epsilon={epsilon!r}"
        )
    if not np.all(np.isfinite(array) & (array >= 0)):
        raise ValueError(f"`epsilon` must be finite and >= 0. Received: epsilon={epsilon!r}")
    return np.broadcast_to(array.astype("float64"), (samples,))


def check_count(value: Any, name: str, least: int = 1) -> int:
    """Return an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"`{name}` must be an integer >= {least}. Received: {name}={value!r}")
    return int(value)
