"""Bounds as tensors of a graph, rounded up, and the certifier's maps on them.

What a proof knows of maps are numbers all the same.
"""

import math

import tensorflow as tf

from keraslip.certify.norms.rounding import TINY, up
from keraslip.certify.operators import Proved, Upwards
from keraslip.linear import LinearMap
from keraslip.typing import Tensor


def times(a: Tensor, b: Tensor) -> Tensor:
    """The product of two bounds, which is zero only if one of them is."""
    # An addition keeps NaN, which some runtimes leave out of a maximum.
    return a * b + TINY * tf.cast((a != 0.0) & (b != 0.0), tf.float64)


def l2(x: Tensor) -> Tensor:
    """An upper bound of the norm of every sample, `(batch,)`."""
    flat = tf.reshape(x, [tf.shape(x)[0], math.prod(x.shape[1:])])
    # The squares of tiny numbers are zero.
    size = tf.reduce_max(tf.abs(flat), axis=1)
    divisor = tf.where(size > 0.0, size, tf.ones_like(size))
    squares = tf.reduce_sum(tf.square(flat / divisor[:, None]), axis=1)
    return times(size, up(tf.sqrt(squares), flat.shape[1]))


def largest(x: Tensor) -> Tensor:
    """The largest entry of every sample, `(batch,)`."""
    return tf.reduce_max(tf.reshape(x, [tf.shape(x)[0], -1]), axis=1)


def each(x: Tensor, like: Tensor) -> Tensor:
    """One number a sample `(batch,)`, in the shape in which it meets `like`."""
    return tf.reshape(x, [-1] + [1] * (len(like.shape) - 1))


class InGraph:
    """What `keraslip.certify.bound.sound_pass.SoundPass` applies of an operator."""

    def __init__(self, operator: Proved, upwards: Upwards) -> None:
        self._operator, self._upwards = operator, upwards
        self._map = upwards.map(operator.map)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *in_shape)` to `(batch, *out_shape)`, float64."""
        return self._map.forward(x)

    @property
    def absolute(self) -> LinearMap:
        """The map with |W|."""
        return self._map.absolute()

    def row_norms(self, columns: Tensor | None = None) -> Tensor:
        return self._operator.row_norms_in(self._upwards, columns)

    @property
    def flushes(self) -> float:
        """The largest of `Proved.flushes`: an array as large as an activation is not stored."""
        return float(self._operator.flushes.max())

    @property
    def underflows(self) -> float:
        return 2.0 * TINY * self.flushes
