"""Balls of a batch as tensors, and the arithmetic on them that rounds up."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keraslip.certify.rounding import INFLATION

Tensor = Any


def up(x: Tensor) -> Tensor:
    """Above what was computed, whatever float64 has rounded."""
    return x * INFLATION


def l2(x: Tensor) -> Tensor:
    """An upper bound of the norm of every sample, `(batch,)`."""
    return up(tf.sqrt(tf.reduce_sum(tf.square(tf.reshape(x, [tf.shape(x)[0], -1])), axis=1)))


def largest(x: Tensor) -> Tensor:
    """The largest entry of every sample, `(batch,)`."""
    return tf.reduce_max(tf.reshape(x, [tf.shape(x)[0], -1]), axis=1)


def each(x: Tensor, like: Tensor) -> Tensor:
    """One number a sample `(batch,)`, in the shape in which it meets `like`."""
    return tf.reshape(x, [-1] + [1] * (len(like.shape) - 1))


@dataclass(frozen=True, eq=False)
class View:
    """See `keraslip.certify.reach.View`: radius as `gain * epsilon + rounding`, and weights."""

    gain: Tensor
    rounding: Tensor
    columns: Tensor | None

    def at(self, epsilon: Tensor) -> Tensor:
        """The radius at an epsilon, `(batch,)`."""
        return up(self.gain * epsilon + self.rounding)
