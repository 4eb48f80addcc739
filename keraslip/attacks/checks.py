"""Checks of what users pass to an attack: clear errors instead of silent nonsense."""

from typing import Any

import keras
import numpy as np

from keraslip.checks import check_images, pair_of_numbers

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


def range_around(x: np.ndarray, input_range: Range) -> Range:
    """The range where all of `x` lie in it, else `None`: an attack needs no range to begin."""
    low, high = check_range(input_range)
    return input_range if low <= x.min() and x.max() <= high else None


def check_inputs(x: Any, low: float, high: float) -> np.ndarray:
    """Return `x` as a float32 array with finite entries inside `[low, high]`."""
    x = np.array(keras.ops.convert_to_numpy(x), "float32", order="C")
    if x.ndim < 2:
        raise ValueError(f"`x` must have shape (batch, ...). Received: x of shape {x.shape}")
    check_images(x)
    if x.size and (x.min() < low or x.max() > high):
        raise ValueError(
            f"`x` must lie in the input range [{low:g}, {high:g}]; pass `input_range=` if the "
            "model was trained on another one, None for no range. "
            f"Received: x between {x.min():g} and {x.max():g}"
        )
    return x
