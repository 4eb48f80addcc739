"""The arithmetic of certificates: NumPy in float64, the same on every backend. See `Arithmetic`."""

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
split = np.split
concatenate = np.concatenate
sort = np.sort
take = np.take
matmul = np.matmul
eye = np.eye


def constant(array: Any) -> Array:
    """Tensors of a backend too."""
    if not isinstance(array, np.ndarray):
        array = ops.convert_to_numpy(array)
    return np.asarray(array, dtype="float64")


def stop_gradient(x: Array) -> Array:
    return x


def divide(a: Array, b: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(a / b)


def relu(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0.0))


def indicator(condition: Array, like: Array) -> Array:
    return np.asarray(condition).astype(like.dtype)


# NumPy's have other names and another order of their arguments.
def sum(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    return np.sum(x, axis=axis, keepdims=keepdims)


def mean(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    return np.mean(x, axis=axis, keepdims=keepdims)


def max(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    return np.max(x, axis=axis, keepdims=keepdims)


def erf(x: Array) -> Array:
    from scipy import special

    return np.asarray(special.erf(x))


def lookup(table: Array, places: Array) -> Array:
    # Comparisons with NaN are false.
    known = np.where(places > 0.0, np.minimum(places, len(table) - 1.0), 0.0)
    return table[known.astype("int64")]


def einsum(subscripts: str, *parts: Array) -> Array:
    return np.asarray(np.einsum(subscripts, *parts, optimize=True))
