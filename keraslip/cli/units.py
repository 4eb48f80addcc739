"""In which unit a radius is: that of the model's input, whatever was done to the data before."""

from typing import Any

import numpy as np

from keraslip.datasets import Dataset


def unit(x: np.ndarray) -> str:
    """The unit of epsilon and radii in words, with the range of the samples that it goes with."""
    return f"L2, raw input units, inputs from {x.min():.4g} to {x.max():.4g}"


def mismatch(model: Any, data: Dataset, x: np.ndarray) -> str | None:
    """What to say where samples do not lie in the range that a model was compiled for, or `None`."""
    expected = getattr(model, "input_range", None) if model.compiled else None
    if expected is None:
        return None
    low, high = expected
    if data.input_range in (None, expected) and low <= x.min() and x.max() <= high:
        return None
    return (
        f"the model was compiled for inputs from {low:.4g} to {high:.4g} (input_range), and those of "
        f"{data.name} lie from {x.min():.4g} to {x.max():.4g}. Epsilon and radii are in units of the model's "
        "input: of inputs that were scaled or normalised outside the model they are radii of scaled inputs, "
        "not of pixels. Let a Rescaling or Normalization layer of the model do it, or compile with the "
        "input_range of the data."
    )
