"""The arithmetic of training: the backend's tensors, in float32, with gradients. See `Arithmetic`."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keraslip.arithmetic.training_windows import adjoint_kernel as adjoint_kernel
from keraslip.arithmetic.training_windows import average_pool as average_pool
from keraslip.arithmetic.training_windows import conv as conv
from keraslip.arithmetic.training_windows import conv_adjoint as conv_adjoint
from keraslip.arithmetic.training_windows import conv_kernel as conv_kernel
from keraslip.typing import Tensor

stop_gradient = ops.stop_gradient
abs = ops.abs
sqrt = ops.sqrt
square = ops.square
exp = ops.exp
log = ops.log
tanh = ops.tanh
erf = ops.erf
maximum = ops.maximum
minimum = ops.minimum
relu = ops.relu
where = ops.where
sum = ops.sum
mean = ops.mean
max = ops.max
ones = ops.ones
ones_like = ops.ones_like
zeros_like = ops.zeros_like
reshape = ops.reshape
transpose = ops.transpose
broadcast_to = ops.broadcast_to
pad = ops.pad
flip = ops.flip
split = ops.split
sort = ops.sort
matmul = ops.matmul
eye = ops.eye
einsum = ops.einsum


def constant(array: Any) -> Tensor:
    """Weights stay what they are, with their gradients."""
    return ops.convert_to_tensor(array)


def divide(a: Tensor, b: Tensor) -> Tensor:
    """Its gradient is finite too."""
    return a / ops.where(b == 0.0, ops.ones_like(b), b)


def indicator(condition: Tensor, like: Tensor) -> Tensor:
    return ops.stop_gradient(ops.cast(condition, like.dtype))


def concatenate(parts: Sequence[Tensor], axis: int) -> Tensor:
    return ops.concatenate(list(parts), axis=axis)


def take(x: Tensor, places: Any, axis: int) -> Tensor:
    return ops.take(x, ops.convert_to_tensor(places, "int32"), axis=axis)


def lookup(table: Tensor, places: Tensor) -> Tensor:
    last = ops.cast(table.shape[0] - 1, places.dtype)
    # Comparisons with NaN are false.
    known = ops.where(places > 0.0, ops.minimum(places, last), ops.zeros_like(places))
    return ops.take(table, ops.cast(known, "int32"), axis=0)
