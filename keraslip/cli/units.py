"""In which unit a radius is: that of the model's input, whatever was done to the data before."""

from typing import Any

import numpy as np

from keraslip.datasets import Dataset
from keraslip.input_range import expected_range, in_words, is_outside


def unit(x: np.ndarray) -> str:
    """The unit of epsilon and radii in words, with the range of the samples that it goes with."""
    return f"L2, raw input units, inputs from {x.min():.4g} to {x.max():.4g}"


def mismatch(model: Any, data: Dataset, x: np.ndarray) -> str | None:
    """What to say where samples do not lie in the range that a model was compiled for, or `None`."""
    expected = expected_range(model)
    if expected is None:
        return None
    if data.input_range in (None, expected) and not is_outside(expected, x):
        return None
    return in_words(expected, x, f"those of {data.name}")
