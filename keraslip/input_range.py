"""Data outside of the range that a model was compiled for, and radii beyond it: then the unit is another."""

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
#: How far beyond the range rounding may lead, as a share of its width.
_ROUNDED = 1e-6


class RangeWarning(UserWarning):
    """Inputs lie outside of the range that a model was compiled for, or epsilon is as large as that range."""


def expected_range(model: Any) -> tuple[float, float] | None:
    """The range that a model was compiled for; `None` for none."""
    return getattr(model, "input_range", None) if model.compiled else None


def is_outside(expected: tuple[float, float] | None, x: np.ndarray) -> bool:
    """Whether samples leave a range."""
    if expected is None or not x.size:
        return False
    low, high = expected
    room = _ROUNDED * (high - low)
    return bool(x.min() < low - room or x.max() > high + room)


def in_words(expected: tuple[float, float], x: np.ndarray, whose: str) -> str:
    """What to say of samples that leave a range."""
    low, high = expected
    return (
        f"the model was compiled for inputs from {low:.4g} to {high:.4g} (input_range), and {whose} lie from "
        f"{x.min():.4g} to {x.max():.4g}. Epsilon and radii are in units of the model's input: of inputs "
        "that were scaled or normalised outside the model they are radii of scaled inputs, not of pixels. "
        "Let a Rescaling or Normalization layer of the model do it, or compile with the input_range of the "
        "data."
    )


def told(model: Any, parts: Iterable[T]) -> Iterator[T]:
    """Blocks of samples as they are, with one `RangeWarning` where the inputs of one leave the range."""
    expected, said = expected_range(model), False
    for part in parts:
        x = part.x  # type: ignore[attr-defined]
        if not said and is_outside(expected, x):
            said = True
            words = in_words(expected, x, "these")  # type: ignore[arg-type]
            warnings.warn(words[0].upper() + words[1:], RangeWarning, stacklevel=5)
        yield part


def tell_outside(model: Any, x: np.ndarray) -> None:
    """Warns where samples leave the range that a model was compiled for."""
    expected = expected_range(model)
    if expected is not None and is_outside(expected, x):
        words = in_words(expected, x, "these")
        warnings.warn(words[0].upper() + words[1:], RangeWarning, stacklevel=3)


def tell_wide(model: Any) -> None:
    """Warns where epsilon reaches over half of the input space: 36 where 36/255 was meant."""
    expected, shape = expected_range(model), model.inputs[0].shape[1:]
    if expected is None or None in shape:
        return
    diameter = math.sqrt(math.prod(shape)) * (expected[1] - expected[0])
    if model.epsilon_value >= diameter / 2:
        # Two balls that meet cannot have two labels.
        warnings.warn(
            f"epsilon {model.epsilon_value:.4g} is at least half of {diameter:.4g}, the largest distance "
            f"between two inputs from {expected[0]:.4g} to {expected[1]:.4g} (input_range): no two inputs of "
            "different classes can both be certified, whatever the network. Epsilon is in units of the "
            "model's input: with pixels in [0, 1] the radius of published CIFAR-10 results is 36/255.",
            RangeWarning,
            stacklevel=3,
        )


@contextmanager
def untold() -> Iterator[None]:
    """Inside the block nothing is said of that: it has been said, or points are drawn from anywhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)
        yield
