"""The certifier's operators as TensorFlow operations in float64, from basic operations only.

Convolutions are sums over the taps of matrix products: runtimes that know no float64 convolution run them.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from keraslip.certify.norms.rounding import INFLATION
from keraslip.certify.operators import Operator
from keraslip.certify.operators.algebra import Chain, Total
from keraslip.certify.operators.convolution import ConvOperator
from keraslip.certify.operators.dense import DenseOperator, DiagonalOperator
from keraslip.certify.operators.moving import MovingOperator
from keraslip.certify.operators.pooling import MeanOperator, PoolOperator
from keraslip.export.graph_views import times, up

Tensor = Any


class Constants:
    """Arrays that the graph reads, each stored once as a variable."""

    def __init__(self) -> None:
        self.stored: list[tf.Variable] = []
        self._known: dict[int, tuple[np.ndarray, tf.Variable]] = {}

    def __call__(self, array: np.ndarray) -> Tensor:
        """The tensor of an array."""
        if id(array) not in self._known:
            with tf.init_scope():  # outside of the function that is being traced
                variable = tf.Variable(array, trainable=False, dtype=tf.float64)
            self.stored.append(variable)
            self._known[id(array)] = array, variable  # the array is kept, so its id stays its own
        return self._known[id(array)][1].read_value()


def forward(operator: Operator, x: Tensor, constants: Constants, absolute: bool = False) -> Tensor:
    """Applies an operator, or its absolute values.

    Args:
        operator: The operator.
        x: Tensor `(batch, *in_shape)`, float64.
        constants: Where coefficients are stored.
        absolute: Whether to apply |W|.

    Raises:
        NotImplementedError: for an operator of the user's own.
    """

    def coefficients(array: np.ndarray) -> Tensor:
        tensor = constants(array)
        return tf.abs(tensor) if absolute else tensor

    if isinstance(operator, Chain):
        inner = forward(operator.inner, x, constants, absolute)
        return forward(operator.outer, inner, constants, absolute)
    if isinstance(operator, Total):
        return tf.add_n([forward(part, x, constants, absolute) for part in operator.parts])
    if isinstance(operator, DenseOperator):
        return tf.tensordot(x, coefficients(operator.kernel), 1)
    if isinstance(operator, ConvOperator):
        return _convolved(operator, x, coefficients(operator.kernel))
    if isinstance(operator, DiagonalOperator):
        return x * coefficients(operator.scale)
    if isinstance(operator, MovingOperator):
        return _moved(operator, x)
    if isinstance(operator, PoolOperator):
        rows = tf.tensordot(x, constants(operator.along_height), [[1], [0]])  # b w c p
        both = tf.tensordot(rows, constants(operator.along_width), [[1], [0]])  # b c p q
        return tf.transpose(both, [0, 2, 3, 1])
    if isinstance(operator, MeanOperator):
        return tf.reduce_mean(x, axis=[1, 2])
    raise NotImplementedError(f"{type(operator).__name__} cannot be exported.")


def _convolved(operator: ConvOperator, x: Tensor, kernel: Tensor) -> Tensor:
    (top, left), (height, width, channels) = operator.left, operator.in_shape
    full_height, full_width = operator.extent
    padding = [[0, 0], [top, full_height - top - height], [left, full_width - left - width], [0, 0]]
    padded = tf.pad(x, padding)
    (sh, sw), (dh, dw) = operator.geometry.strides, operator.geometry.dilation
    out_height, out_width, filters = operator.out_shape
    groups = operator.geometry.groups
    inside, outside = channels // groups, filters // groups
    parts = []
    for g in range(groups):
        total = 0.0
        for i in range(operator.kernel.shape[0]):
            for j in range(operator.kernel.shape[1]):
                view = padded[
                    :,
                    i * dh : i * dh + sh * (out_height - 1) + 1 : sh,
                    j * dw : j * dw + sw * (out_width - 1) + 1 : sw,
                    g * inside : (g + 1) * inside,
                ]
                tap = kernel[i, j, :, g * outside : (g + 1) * outside]
                total = total + tf.tensordot(view, tap, 1)
        parts.append(total)
    return parts[0] if groups == 1 else tf.concat(parts, axis=-1)


def _moved(operator: MovingOperator, x: Tensor) -> Tensor:
    shape = [-1, *operator.out_shape]
    if operator.source is None:
        return tf.reshape(x, shape)
    flat = tf.reshape(x, [-1, operator.inputs])
    # One more entry that is zero, for outputs that no input reaches.
    extended = tf.pad(flat, [[0, 0], [0, 1]])
    places = np.where(operator.source < 0, operator.inputs, operator.source)
    return tf.reshape(tf.gather(extended, places, axis=1), shape)


def row_norms(operator: Operator, columns: Tensor | None, constants: Constants) -> Tensor:
    """As `Operator.row_norms`.

    Args:
        operator: The operator.
        columns: Weights `(batch, *in_shape)`, or `None` for ones.
        constants: Where coefficients are stored.
    """
    if columns is None or not operator.reads_columns:
        return tf.constant(np.asarray(operator.row_norms()), dtype=tf.float64)
    if isinstance(operator, Chain):
        if operator.outer.moves:
            inner = row_norms(operator.inner, columns, constants)
            shape = [tf.shape(inner)[0], *operator.inner.out_shape]
            return forward(operator.outer, tf.broadcast_to(inner, shape), constants)
        return row_norms(operator.outer, forward(operator.inner, columns, constants), constants)
    if isinstance(operator, Total):
        norms = [row_norms(part, columns, constants) for part in operator.parts]
        return sum(norms[1:], norms[0]) * INFLATION
    if isinstance(operator, DenseOperator):
        squares, power = (constants(part) for part in operator.squares)
        norms = tf.sqrt(tf.tensordot(tf.square(columns), squares, 1))
        return times(up(norms, operator.terms) * (1.0 + operator.slack), power)
    if isinstance(operator, MovingOperator):
        return forward(operator, columns, constants)
    # An upper bound that leaves the columns out.
    return tf.constant(np.asarray(operator.row_norms()), dtype=tf.float64)
