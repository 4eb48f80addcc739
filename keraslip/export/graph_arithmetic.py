"""The arithmetic of exported certificates: TensorFlow in float64, basic operations only.

A graph of them runs where Keras is missing, and also becomes ONNX.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keraslip.export.graph_windows import GraphWindows
from keraslip.typing import Tensor


class Graph(GraphWindows):
    """An arithmetic (see `keraslip.arithmetic.Arithmetic`) that stores coefficients once, as variables."""

    stop_gradient = staticmethod(tf.identity)
    abs = staticmethod(tf.abs)
    sqrt = staticmethod(tf.sqrt)
    square = staticmethod(tf.square)
    maximum = staticmethod(tf.maximum)
    minimum = staticmethod(tf.minimum)
    ones_like = staticmethod(tf.ones_like)
    zeros_like = staticmethod(tf.zeros_like)
    reshape = staticmethod(tf.reshape)
    transpose = staticmethod(tf.transpose)
    broadcast_to = staticmethod(tf.broadcast_to)
    pad = staticmethod(tf.pad)
    sort = staticmethod(tf.sort)
    sum = staticmethod(tf.reduce_sum)
    mean = staticmethod(tf.reduce_mean)
    max = staticmethod(tf.reduce_max)
    split = staticmethod(tf.split)
    concatenate = staticmethod(tf.concat)
    einsum = staticmethod(tf.einsum)

    def __init__(self) -> None:
        self.stored: list[tf.Variable] = []
        self._known: dict[tuple[Any, bytes], tf.Variable] = {}

    def constant(self, array: np.ndarray) -> Tensor:
        array = np.asarray(array, "float64")
        # By content: a graph that is traced again makes some arrays anew, and may create no variable then.
        key = array.shape, hashlib.sha256(array.tobytes()).digest()
        if key not in self._known:
            with tf.init_scope():  # outside of the function that is being traced
                self._known[key] = tf.Variable(array, trainable=False, dtype=tf.float64)
            self.stored.append(self._known[key])
        return self._known[key].read_value()

    def relu(self, x: Tensor) -> Tensor:
        return tf.maximum(x, 0.0)

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return tf.where(condition, _number(a), _number(b))

    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        """See `Arithmetic.divide`: some runtimes compute both sides of `where`, as products."""
        return a / tf.where(b == 0.0, tf.ones_like(b), b)

    def indicator(self, condition: Tensor, like: Tensor) -> Tensor:
        return tf.cast(condition, like.dtype)

    def ones(self, shape: Sequence[int]) -> Tensor:
        return tf.ones(shape, dtype=tf.float64)

    def flip(self, x: Tensor, axis: Any) -> Tensor:
        return tf.reverse(x, axis if isinstance(axis, list | tuple) else [axis])

    def take(self, x: Tensor, places: Any, axis: int) -> Tensor:
        return tf.gather(x, places, axis=axis)

    def eye(self, size: int) -> Tensor:
        return tf.eye(size, dtype=tf.float64)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        return tf.tensordot(a, b, 1) if len(b.shape) == 2 else tf.matmul(a, b)


def _number(x: Any) -> Tensor:
    return tf.constant(x, tf.float64) if isinstance(x, int | float) else x
