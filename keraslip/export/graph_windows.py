"""Convolutions and pooling as TensorFlow operations in float64, from basic operations only.

Convolutions are sums over the taps of matrix products: runtimes that know no float64 convolution run them.
"""

from typing import Any

import tensorflow as tf

from keraslip.arithmetic.geometry import ConvGeometry, PoolGeometry, Shape

Tensor = Any


class GraphWindows:
    """What a graph's arithmetic knows of windows."""

    def conv_kernel(self, kernel: Tensor, geometry: ConvGeometry, channels: int) -> Tensor:
        """See `Arithmetic.conv_kernel`."""
        return kernel

    adjoint_kernel = conv_kernel

    def conv(self, x: Tensor, kernel: Tensor, geometry: ConvGeometry) -> Tensor:
        """See `Arithmetic.conv`."""
        image, size = tuple(x.shape[1:3]), tuple(kernel.shape)
        sides = geometry.padded(image, size)
        padded = tf.pad(x, [[0, 0], *map(list, sides), [0, 0]])
        total = 0.0
        for i, j, rows, columns in geometry.windows(geometry.out_image(image, size), size):
            total = total + _product(padded[:, rows, columns], kernel[i, j], geometry.groups)
        return total

    def conv_adjoint(
        self, y: Tensor, kernel: Tensor, geometry: ConvGeometry, in_shape: Shape, left: Shape
    ) -> Tensor:
        """Not in a graph: its pass goes forward only."""
        raise NotImplementedError("A graph applies no adjoint of a convolution.")

    def average_pool(self, x: Tensor, sides: Any, pool: PoolGeometry) -> Tensor:
        """See `Arithmetic.average_pool`: by the shares that the backend's pooling has."""
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
