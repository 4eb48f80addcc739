"""How a check says what is wrong."""

from typing import Any

import numpy as np


def require(condition: Any, what: str, message: str) -> None:
    """Raises unless all of a condition holds.

    Args:
        condition: A boolean, or an array of them. NaN does not compare, and fails.
        what: The part that is wrong: `"adjoint"`, `"row norms"`, `"slopes"`, ...
        message: What it does, and what it should.

    Raises:
        AssertionError: if anything does not hold.
    """
    if not np.all(condition):
        raise AssertionError(f"{what}: {message}")


def place(wrong: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Where the first entry is that is wrong, as an index without the batch.

    Args:
        wrong: Booleans `(..., entries)`.
        shape: The shape that the entries have.
    """
    flat = wrong.reshape(-1, wrong.shape[-1]).any(axis=0)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(flat)), shape))
