"""Kernels rescaled in closed form so that their map is 1-Lipschitz: almost orthogonal ones."""

import math
from typing import Any

from keraslip.arithmetic.geometry import ConvGeometry
from keraslip.linear.magnitudes import max_abs
from keraslip.typing import Shape, Tensor

#: What row sums are taken larger by: float32 errs by less, so that no norm is above 1 by rounding.
_ROOM = 1.0 + 4e-6


def almost_orthogonal(
    arithmetic: Any, kernel: Tensor, strides: Shape = (1, 1), groups: int = 1
) -> Tensor:
    """A kernel whose map has a norm of at most 1: `W diag(d)^-1/2` with `d_i = sum_j |W^T W|_ij`.

    Of a convolution `W^T W` is the kernel's correlation with itself, which knows no border: the norm is at
    most 1 for every image, padding and dilation. A strided convolution is one of stride 1 on its cells, whose
    pixels are channels. Rescaled are inputs or outputs, whichever are fewer (inputs if it makes no
    difference), for `W` and `W^T` have one norm. A row or column of zeros stays one.

    Args:
        arithmetic: Of the kernel.
        kernel: `(inputs, outputs)`, or `(height, width, inputs / groups, outputs)`.
        strides: Step along height and width.
        groups: Number of channel groups.

    Returns:
        The kernel, rescaled; its gradient is finite everywhere.

    Reference:

    - Prach and Lampert, Almost-Orthogonal Layers, ECCV 2022, arXiv 2208.03160, theorem 1 and section 4.
    """
    if groups > 1:
        parts = arithmetic.split(kernel, groups, axis=-1)
        rescaled = [almost_orthogonal(arithmetic, part, strides) for part in parts]
        return arithmetic.concatenate(rescaled, axis=-1)
    # Any multiple of a kernel is rescaled to the same: products neither overflow nor vanish.
    taps = _in_cells(arithmetic, kernel / max_abs(arithmetic, kernel), strides)
    inputs, outputs = taps.shape[2:]
    if inputs <= outputs:
        taps = taps * arithmetic.reshape(_scale(arithmetic, taps), (-1, 1))
    else:
        taps = taps * _scale(arithmetic, _turned(arithmetic, taps))
    return _out_of_cells(arithmetic, taps, tuple(kernel.shape), strides)


def _scale(xp: Any, taps: Tensor) -> Tensor:
    """`d^-1/2` for every input of a kernel `(height, width, inputs, outputs)`, 1 where d is zero."""
    sums = _ROOM * _row_sums(xp, taps)
    some = sums > 0.0
    root = xp.sqrt(xp.where(some, sums, xp.ones_like(sums)))
    return xp.ones_like(sums) / root


def _row_sums(xp: Any, taps: Tensor) -> Tensor:
    """Sums of the magnitudes of `W^T W` along its rows, for every input."""
    height, width = taps.shape[:2]
    turned, images = _turned(xp, taps), xp.transpose(taps, (2, 0, 1, 3))
    if height * width == 1:
        return xp.sum(xp.abs(xp.matmul(taps[0, 0], turned[0, 0])), axis=1)
    # Two images at least: PyTorch has no gradient for one image and one channel.
    count = images.shape[0]
    sides = ((0, 1 if count == 1 else 0), (height - 1, height - 1), (width - 1, width - 1), (0, 0))
    geometry = ConvGeometry()
    filters = xp.conv_kernel(turned, geometry, turned.shape[2])
    products = xp.conv(xp.pad(images, sides), filters, geometry)
    return xp.sum(xp.abs(products), axis=(1, 2, 3))[:count]


def _turned(xp: Any, taps: Tensor) -> Tensor:
    """The kernel with inputs and outputs exchanged."""
    return xp.transpose(taps, (0, 1, 3, 2))


def _in_cells(xp: Any, kernel: Tensor, strides: Shape) -> Tensor:
    """The kernel of stride 1 that reads every cell of pixels, as large as the strides, as channels."""
    high, wide, inputs, outputs = _sizes(tuple(kernel.shape))
    kernel = xp.reshape(kernel, (high, wide, inputs, outputs))
    (tall, broad), (down, right) = _cells((high, wide), strides), strides
    if down * right == 1:
        return kernel
    missing = ((0, tall * down - high), (0, broad * right - wide), (0, 0), (0, 0))
    taps = xp.reshape(xp.pad(kernel, missing), (tall, down, broad, right, inputs, outputs))
    taps = xp.transpose(taps, (0, 2, 1, 3, 4, 5))
    return xp.reshape(taps, (tall, broad, down * right * inputs, outputs))


def _out_of_cells(xp: Any, taps: Tensor, shape: Shape, strides: Shape) -> Tensor:
    """What `_in_cells` undoes, in the kernel's own shape."""
    high, wide, inputs, outputs = _sizes(shape)
    (tall, broad), (down, right) = _cells((high, wide), strides), strides
    if down * right > 1:
        taps = xp.reshape(taps, (tall, broad, down, right, inputs, outputs))
        taps = xp.transpose(taps, (0, 2, 1, 3, 4, 5))
        taps = xp.reshape(taps, (tall * down, broad * right, inputs, outputs))[:high, :wide]
    return xp.reshape(taps, shape)


def _sizes(shape: Shape) -> tuple[int, ...]:
    return (1,) * (4 - len(shape)) + shape


def _cells(sizes: Shape, strides: Shape) -> tuple[int, ...]:
    return tuple(math.ceil(size / step) for size, step in zip(sizes, strides, strict=True))
