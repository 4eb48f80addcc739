"""The arithmetic of certificates: NumPy in float64, the same on every backend."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keraslip.arithmetic.float64_windows import adjoint_kernel as adjoint_kernel
from keraslip.arithmetic.float64_windows import average_pool as average_pool
from keraslip.arithmetic.float64_windows import conv as conv
from keraslip.arithmetic.float64_windows import conv_adjoint as conv_adjoint
from keraslip.arithmetic.float64_windows import conv_kernel as conv_kernel
from keraslip.typing import Array

abs = np.abs
sqrt = np.sqrt
square = np.square
exp = np.exp
log = np.log
tanh = np.tanh
maximum = np.maximum
minimum = np.minimum
where = np.where
ones = np.ones
ones_like = np.ones_like
zeros_like = np.zeros_like
reshape = np.reshape
transpose = np.transpose
broadcast_to = np.broadcast_to
pad = np.pad
flip = np.flip
sort = np.sort
matmul = np.matmul
eye = np.eye


def constant(array: Any) -> Array:
    """See `Arithmetic.constant`: tensors of a backend too."""
    if not isinstance(array, np.ndarray):
        array = ops.convert_to_numpy(array)
    return np.asarray(array, dtype="float64")


def stop_gradient(x: Array) -> Array:
    """See `Arithmetic.stop_gradient`."""
    return x


def divide(a: Array, b: Array) -> Array:
    """See `Arithmetic.divide`."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(a / b)


def relu(x: Array) -> Array:
    """See `Arithmetic.relu`."""
    return np.asarray(np.maximum(x, 0.0))


def indicator(condition: Array, like: Array) -> Array:
    """See `Arithmetic.indicator`."""
    return np.asarray(condition).astype(like.dtype)


def sum(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    """See `Arithmetic.sum`."""
    return np.sum(x, axis=axis, keepdims=keepdims)


def mean(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    """See `Arithmetic.mean`."""
    return np.mean(x, axis=axis, keepdims=keepdims)


def max(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    """See `Arithmetic.max`."""
    return np.max(x, axis=axis, keepdims=keepdims)


def split(x: Array, count: int, axis: int) -> Sequence[Array]:
    """See `Arithmetic.split`."""
    return np.split(x, count, axis=axis)


def concatenate(parts: Sequence[Array], axis: int) -> Array:
    """See `Arithmetic.concatenate`."""
    return np.concatenate(parts, axis=axis)


def take(x: Array, places: Any, axis: int) -> Array:
    """See `Arithmetic.take`."""
    return np.take(x, places, axis=axis)


def erf(x: Array) -> Array:
    """See `Arithmetic.erf`."""
    from scipy import special

    return np.asarray(special.erf(x))


def lookup(table: Array, places: Array) -> Array:
    """See `Arithmetic.lookup`."""
    # Comparisons with NaN are false.
    known = np.where(places > 0.0, np.minimum(places, len(table) - 1.0), 0.0)
    return table[known.astype("int64")]


def einsum(subscripts: str, *parts: Array) -> Array:
    """See `Arithmetic.einsum`."""
    return np.asarray(np.einsum(subscripts, *parts, optimize=True))
