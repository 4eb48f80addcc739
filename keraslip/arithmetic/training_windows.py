"""Convolutions and pooling on `keras.ops`, and the adjoint of every convolution as one convolution."""

from keras import ops

from keraslip.arithmetic.geometry import ConvGeometry, PoolGeometry, Shape
from keraslip.typing import Tensor


def conv_kernel(kernel: Tensor, geometry: ConvGeometry, channels: int) -> Tensor:
    if not _one_by_one(geometry, channels):
        return kernel
    height, width, _, filters = kernel.shape
    return ops.reshape(kernel, (height, width, channels, filters // channels))


def conv(x: Tensor, kernel: Tensor, geometry: ConvGeometry) -> Tensor:
    # Backends have a kernel of their own for channels that are not mixed, TensorFlow only for equal strides.
    convolve = ops.depthwise_conv if _one_by_one(geometry, x.shape[-1]) else ops.conv
    return convolve(
        x,
        kernel,
        strides=geometry.strides,
        padding=geometry.padding,
        data_format="channels_last",
        dilation_rate=geometry.dilation,
    )


def _one_by_one(geometry: ConvGeometry, channels: int) -> bool:
    return geometry.depthwise(channels) and geometry.strides[0] == geometry.strides[1]


def adjoint_kernel(kernel: Tensor, geometry: ConvGeometry, channels: int) -> Tensor:
    """Flipped, in and out of each group exchanged."""
    (sh, sw), groups = _steps(geometry), geometry.groups
    kh, kw, inner, outer = kernel.shape
    if sh * sw == groups == 1:
        flipped = ops.transpose(ops.flip(kernel, axis=(0, 1)), (0, 1, 3, 2))
        return _at_least_two(flipped)
    # An input pixel meets every s-th tap only: the taps of each of the s x s cases become channels.
    height, width = -(-kh // sh), -(-kw // sw)
    if sh * sw > 1:
        kernel = ops.pad(kernel, ((0, height * sh - kh), (0, width * sw - kw), (0, 0), (0, 0)))
    outer = outer // groups
    kernel = ops.reshape(kernel, (height, sh, width, sw, inner, groups, outer))
    if geometry.depthwise(channels):
        kernel = ops.transpose(kernel, (0, 2, 5, 6, 1, 3, 4))
        return ops.flip(ops.reshape(kernel, (height, width, groups * outer, sh * sw)), axis=(0, 1))
    kernel = ops.transpose(kernel, (0, 2, 6, 5, 1, 3, 4))
    kernel = ops.reshape(kernel, (height, width, outer, groups * sh * sw * inner))
    return _at_least_two(ops.flip(kernel, axis=(0, 1)))


def _at_least_two(kernel: Tensor) -> Tensor:
    """PyTorch has no gradient for one image and one channel: a second one is made, and cut off later."""
    only = kernel.shape[-1] == 1
    return ops.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, 1))) if only else kernel


def _steps(geometry: ConvGeometry) -> tuple[int, int]:
    return geometry.strides if geometry.dilation == (1, 1) else (1, 1)


def conv_adjoint(
    y: Tensor, kernel: Tensor, geometry: ConvGeometry, in_shape: Shape, left: Shape
) -> Tensor:
    """See `Arithmetic.conv_adjoint`.

    conv_transpose(padding="same") is not the adjoint for every odd size, and the gradient of any
    conv_transpose with respect to its kernel takes XLA on CPUs 45 times as long as that of a convolution.
    """
    (sh, sw), groups = _steps(geometry), geometry.groups
    inner = in_shape[-1] // groups
    reach = [(size - 1) * step for size, step in zip(kernel.shape, geometry.dilation, strict=False)]
    depthwise = geometry.depthwise(in_shape[-1])
    z = (ops.depthwise_conv if depthwise else ops.conv)(
        ops.pad(y, ((0, 0), *((size, size) for size in reach), (0, 0))),
        kernel,
        padding="valid",
        data_format="channels_last",
        dilation_rate=geometry.dilation,
    )
    rows, columns = z.shape[1], z.shape[2]
    outer = y.shape[-1] // groups
    if depthwise and outer > 1:
        z = ops.reshape(z, (-1, rows, columns, groups, outer, sh * sw))
        z = ops.reshape(ops.sum(z, axis=4), (-1, rows, columns, groups * sh * sw))
    if sh * sw == 1:
        z = z[..., : groups * inner]
    else:
        z = ops.reshape(z, (-1, rows, columns, groups, sh, sw, inner))
        z = ops.transpose(z, (0, 1, 4, 2, 5, 3, 6))
        z = ops.reshape(z, (-1, rows * sh, columns * sw, groups * inner))
    return _fitted(z, left, in_shape)


def _fitted(z: Tensor, left: Shape, in_shape: Shape) -> Tensor:
    """Cuts the forward's padding off, and adds the pixels that no window reached."""
    (top, side), (height, width, _) = left, in_shape
    z = z[:, top : top + height, side : side + width, :]
    missing = (height - z.shape[1], width - z.shape[2])
    if any(missing):
        z = ops.pad(z, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    return z


def average_pool(x: Tensor, sides: tuple[Tensor, Tensor], pool: PoolGeometry) -> Tensor:
    """The backend's own."""
    return ops.average_pool(
        x, pool.size, strides=pool.strides, padding=pool.padding, data_format="channels_last"
    )
