"""The arithmetic of exported certificates: TensorFlow in float64, basic operations only.

A graph of them runs where Keras is missing, and also becomes ONNX. Convolutions are sums over the taps of
matrix products: runtimes that know no float64 convolution run them.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import erfcx

from keraslip.arithmetic.geometry import ConvGeometry, PoolGeometry, Shape
from keraslip.typing import Tensor


class Graph:
    """An arithmetic (see `keraslip.arithmetic.Arithmetic`) that stores coefficients once, as variables."""

    stop_gradient = staticmethod(tf.identity)
    abs = staticmethod(tf.abs)
    sqrt = staticmethod(tf.sqrt)
    square = staticmethod(tf.square)
    exp = staticmethod(tf.exp)
    log = staticmethod(tf.math.log)
    tanh = staticmethod(tf.tanh)
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
        """Some runtimes compute both sides of `where`, as products."""
        return a / tf.where(b == 0.0, tf.ones_like(b), b)

    def indicator(self, condition: Tensor, like: Tensor) -> Tensor:
        return tf.cast(condition, like.dtype)

    def ones(self, shape: Sequence[int]) -> Tensor:
        return tf.ones(shape, dtype=tf.float64)

    def flip(self, x: Tensor, axis: Any) -> Tensor:
        return tf.reverse(x, axis if isinstance(axis, list | tuple) else [axis])

    def take(self, x: Tensor, places: Any, axis: int) -> Tensor:
        return tf.gather(x, places, axis=axis)

    def lookup(self, table: Tensor, places: Tensor) -> Tensor:
        last = tf.constant(table.shape[0] - 1, tf.float64)
        # Comparisons with NaN are false.
        known = tf.where(places > 0.0, tf.minimum(places, last), tf.zeros_like(places))
        return tf.gather(table, tf.cast(known, tf.int32))

    def erf(self, x: Tensor) -> Tensor:
        """Not every runtime knows it in float64.

        With `t = 2 / (2 + |x|)` it is `1 - t exp(g(t) - x^2)`, and g is a polynomial but for 1e-15.
        """
        size = tf.abs(x)
        t = 2.0 / (2.0 + size)
        shifted, (last, *rest) = 2.0 * t - 1.0, _exponent()[::-1]
        g, before = last * tf.ones_like(x), tf.zeros_like(x)
        for coefficient in rest[:-1]:  # Clenshaw's sum
            g, before = 2.0 * shifted * g - before + coefficient, g
        g = shifted * g - before + rest[-1]
        return tf.sign(x) * (1.0 - t * tf.exp(g - tf.square(size)))

    def eye(self, size: int) -> Tensor:
        return tf.eye(size, dtype=tf.float64)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        return tf.tensordot(a, b, 1) if len(b.shape) == 2 else tf.matmul(a, b)

    def conv_kernel(self, kernel: Tensor, geometry: ConvGeometry, channels: int) -> Tensor:
        return kernel

    adjoint_kernel = conv_kernel

    def conv(self, x: Tensor, kernel: Tensor, geometry: ConvGeometry) -> Tensor:
        image, size = tuple(x.shape[1:3]), tuple(kernel.shape)
        sides = geometry.padded(image, size)
        padded = tf.pad(x, [[0, 0], *map(list, sides), [0, 0]])
        total: Any = 0.0
        for i, j, rows, columns in geometry.windows(geometry.out_image(image, size), size):
            total = total + _product(padded[:, rows, columns], kernel[i, j], geometry.groups)
        return total

    def conv_adjoint(
        self, y: Tensor, kernel: Tensor, geometry: ConvGeometry, in_shape: Shape, left: Shape
    ) -> Tensor:
        """What each tap gives back, laid in its place and added up."""
        image, size = tuple(in_shape[:2]), tuple(kernel.shape)
        sides = geometry.padded(image, size)
        lengths = [before + n + after for n, (before, after) in zip(image, sides, strict=True)]
        total: Any = 0.0
        for i, j, rows, columns in geometry.windows(tuple(y.shape[1:3]), size):
            back = _transposed(y, kernel[i, j], geometry.groups)
            total = total + _laid(back, (rows, columns), lengths)
        (top, _), (start, _) = sides
        return total[:, top : top + image[0], start : start + image[1]]

    def average_pool(self, x: Tensor, sides: Any, pool: PoolGeometry) -> Tensor:
        """By the shares that the backend's pooling has."""
        rows = tf.tensordot(x, sides[0], [[1], [0]])  # b w c p
        both = tf.tensordot(rows, sides[1], [[1], [0]])  # b c p q
        return tf.transpose(both, [0, 2, 3, 1])


def _product(view: Tensor, tap: Tensor, groups: int) -> Tensor:
    """Channels `(..., in)` through one tap `(in / groups, out)`."""
    if groups == 1:
        return tf.tensordot(view, tap, 1)
    height, width, channels = view.shape[1:]
    if groups == channels:
        both = view[..., None] * tf.reshape(tap, [groups, -1])
        return tf.reshape(both, [-1, height, width, tap.shape[1]])
    parts = zip(tf.split(view, groups, axis=-1), tf.split(tap, groups, axis=-1), strict=True)
    return tf.concat([tf.tensordot(x, t, 1) for x, t in parts], axis=-1)


def _transposed(y: Tensor, tap: Tensor, groups: int) -> Tensor:
    """Channels `(..., out)` back through one tap `(in / groups, out)`."""
    parts = zip(tf.split(y, groups, axis=-1), tf.split(tap, groups, axis=-1), strict=True)
    back = [tf.tensordot(part, t, [[3], [1]]) for part, t in parts]
    return back[0] if groups == 1 else tf.concat(back, axis=-1)


def _laid(x: Tensor, places: tuple[slice, slice], lengths: list[int]) -> Tensor:
    """The pixels of an image at the places of a larger one, zeros elsewhere."""
    height, width, channels = x.shape[1:]
    steps = [place.step or 1 for place in places]
    x = tf.reshape(x, [-1, height, 1, width, 1, channels])
    x = tf.pad(x, [[0, 0], [0, 0], [0, steps[0] - 1], [0, 0], [0, steps[1] - 1], [0, 0]])
    x = tf.reshape(x, [-1, height * steps[0], width * steps[1], channels])
    ends = [(n - 1) * step + 1 for n, step in zip((height, width), steps, strict=True)]
    starts = [place.start or 0 for place in places]
    sides = zip(starts, ends, lengths, strict=True)
    widths = [[start, length - start - end] for start, end, length in sides]
    return tf.pad(x[:, : ends[0], : ends[1]], [[0, 0], *widths, [0, 0]])


@cache
def _exponent() -> list[float]:
    """Chebyshev coefficients of `log(erfc(x) exp(x^2) / t)` over t from 0 to 1."""

    def known(shifted: Any) -> Any:
        t = 0.5 * (shifted + 1.0)
        return np.log(erfcx(2.0 / t - 2.0) / t)

    found: list[float] = np.polynomial.chebyshev.chebinterpolate(known, 28).tolist()
    return found


def _number(x: Any) -> Tensor:
    return tf.constant(x, tf.float64) if isinstance(x, int | float) else x
