"""Checks of what users pass: numbers, inputs and labels."""

import math
from numbers import Integral, Real
from typing import Any

import keras
import numpy as np


def check_epsilon(epsilon: Any, name: str = "epsilon") -> float:
    """A finite number >= 0 as a float: a radius in raw input units, unless its name says otherwise."""
    if not _is_number(epsilon) or not 0.0 <= float(epsilon) < math.inf:
        radius = ", an L2 radius in raw input units" if "epsilon" in name else ""
        raise ValueError(
            f"{name} must be a finite number >= 0{radius}. Received: {name}={epsilon!r}"
        )
    return float(epsilon)


def check_is_model(model: Any, whose: str) -> None:
    """A TypeError for what is no Keras model: a path, for instance."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"{whose} takes a keras.Model; a file is one after keras.saving.load_model. Received: {model!r}"
        )


def check_radii(epsilon: Any, count: int | None = None) -> np.ndarray:
    """Radii of balls in float64: one for all samples, `()`, or one for each of `count`, `(n,)`."""
    if np.ndim(epsilon) == 0:
        number = np.asarray(epsilon).item() if hasattr(epsilon, "__array__") else epsilon
        return np.asarray(check_epsilon(number))
    radii = np.asarray(epsilon)
    if radii.ndim != 1 or radii.dtype.kind not in "iuf":
        raise ValueError(
            "epsilon must be one number or one for each sample. "
            f"Received: shape {radii.shape}, dtype {radii.dtype}"
        )
    if not (np.isfinite(radii).all() and (radii >= 0).all()):
        raise ValueError(f"epsilon must be finite and >= 0. Received: epsilon={epsilon!r}")
    if count is not None and len(radii) != count:
        raise wrong_count(radii)
    return radii.astype("float64")


def wrong_count(radii: np.ndarray) -> ValueError:
    """What to raise where there are more or fewer radii than samples."""
    return ValueError(
        f"epsilon must be one number or one for each sample. Received: {len(radii)} numbers"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_count(value: Any, name: str, least: int = 1) -> int:
    """An integer that is at least so large, NumPy's included, as an int."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        given = f"{name.strip('`')}={value!r}"
        raise ValueError(f"{name} must be an integer >= {least}. Received: {given}")
    return int(value)


def check_range(value: Any) -> tuple[float, float] | None:
    """An input range `(low, high)`, two finite numbers, as a pair of floats; `None` is unbounded."""
    if value is None:
        return None
    low, high = pair_of_numbers(value)
    if not -math.inf < low < high < math.inf:
        raise ValueError(
            "input_range must be (low, high), two finite numbers with low < high, or None for unbounded "
            f"inputs. Received: input_range={value!r}"
        )
    return low, high


def pair_of_numbers(value: Any) -> tuple[float, float]:
    """Two floats from a tuple, list or array of two numbers; two NaN from anything else."""
    pair = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(map(_is_number, pair)):
        return math.nan, math.nan
    return float(pair[0]), float(pair[1])


def check_inputs(x: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Inputs as a float32 array, see `check_array`; what float32 cannot hold is refused too."""
    with np.errstate(over="ignore"):
        x = check_array(x, shape).astype("float32")
    check_images(x)
    return x


def check_array(x: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Inputs `(n, *shape)` with n >= 1 as an array; the numbers must be real and finite."""
    if hasattr(x, "__next__") or not (hasattr(x, "__array__") or isinstance(x, list | tuple)):
        raise ValueError(f"x must be an array. Received: {type(x).__name__}")
    x = np.asarray(keras.ops.convert_to_numpy(x))
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape or not len(x):
        wanted = "".join(f", {size}" for size in shape) or ","
        raise ValueError(f"x must have shape (n{wanted}) with n >= 1. Received: {x.shape}")
    if x.dtype.kind not in "iufb" and x.dtype.name != "bfloat16":
        raise ValueError(f"x must hold real numbers. Received: dtype {x.dtype}")
    check_images(x)
    return x


def check_images(x: Any) -> None:
    """Raises if inputs hold NaN or infinity, naming the first bad sample."""
    if np.issubdtype(x.dtype, np.integer) or x.dtype == bool:
        return
    for start in range(0, len(x), 4096):
        part = np.isfinite(x[start : start + 4096])
        bad = ~part.reshape(len(part), -1).all(axis=1)
        if bad.any():
            raise ValueError(
                "x holds NaN or infinity, and must be finite. Remove these samples. "
                f"Received: first bad sample at index {start + int(np.argmax(bad))}"
            )


def check_labels(
    y: Any, classes: int, count: int | None = None, name: str = "Labels", one_hot: bool = True
) -> np.ndarray:
    """Labels as class indices, `(n,)` int64.

    They are integers `(n,)` or `(n, 1)`, or one-hot `(n, classes)` where that is allowed; as many as
    `count`, if that is known.
    """
    y = np.asarray(keras.ops.convert_to_numpy(y))
    if count is not None and y.ndim and len(y) != count:
        called = "y" if name == "Labels" else name
        raise ValueError(f"x and {called} differ in length. Received: {count} and {len(y)}")
    if one_hot and y.ndim == 2 and y.shape[1] == classes and classes > 1:
        return _of_rows(y)
    if y.ndim not in (1, 2) or (y.ndim == 2 and y.shape[1] != 1):
        rows = f" or one-hot (n, {classes})" if one_hot else ""
        raise ValueError(f"{name} must be class indices (n,){rows}. Received: shape {y.shape}")
    if not np.issubdtype(y.dtype, np.integer):
        numbers = y.dtype.kind in "fb"
        how = "y.astype('int32')" if numbers else "np.unique(y, return_inverse=True)[1]"
        raise ValueError(
            f"Class indices must be integers; convert them with {how}. Received: {name} of dtype "
            f"{y.dtype}"
        )
    if y.size and (y.min() < 0 or y.max() >= classes):
        raise ValueError(
            f"{name} must lie in 0..{classes - 1}, for the model has {classes} classes. "
            f"Received: labels from {y.min()} to {y.max()}"
        )
    return y.reshape(-1).astype("int64")


def _of_rows(y: np.ndarray) -> np.ndarray:
    wrong = ~np.isin(y, (0, 1)).all(axis=1) | (y.sum(axis=1) != 1)
    if wrong.any():
        raise ValueError(
            "Labels of shape (n, classes) must be one-hot: a single 1 in every row. "
            f"Received: rows such as {y[wrong][0]}"
        )
    return y.argmax(axis=-1).astype("int64")
