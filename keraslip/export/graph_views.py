"""Bounds as tensors: the arithmetic on them that rounds up."""

import math

import tensorflow as tf

from keraslip.certify.norms.rounding import TINY, inflation
from keraslip.typing import Tensor


def up(x: Tensor, terms: float = 0) -> Tensor:
    """Above what was computed, whatever float64 has rounded; see `keraslip.certify.norms.rounding.up`."""
    return x * inflation(terms)


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
