"""How a check says what is wrong."""

from typing import Any

import numpy as np

from keraslip.arithmetic import float64


def require(condition: Any, what: str, message: str) -> None:
    """Raises an AssertionError that names a wrong part unless all of a condition holds; NaN fails."""
    if not np.all(condition):
        raise AssertionError(f"{what}: {message}")


def in_float64(made: Any, method: str, shape: tuple[int, ...]) -> Any:
    """A map or activation in float64, whose method is held to that on zeros."""
    exact = made.to(float64)
    try:
        found = getattr(exact, method)(np.zeros((1, *shape)))
    except Exception as error:
        raise AssertionError(
            f"{method}: it fails on NumPy arrays, as certificates call it ({error!r}). Write it on "
            "self.arithmetic, which has NumPy's names, and keep every coefficient in a field"
        ) from error
    kind = getattr(found, "dtype", type(found))
    words = (
        f"of float64 arrays it makes {kind}, so that no certificate can rest on it. Write it on "
    )
    exactly = isinstance(found, np.ndarray) and found.dtype == np.float64
    require(exactly, method, f"{words}self.arithmetic, and keep every coefficient in a field")
    return exact
