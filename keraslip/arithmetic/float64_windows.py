"""Convolutions and pooling in NumPy, tap by tap."""

import numpy as np

from keraslip.arithmetic.geometry import ConvGeometry, PoolGeometry, Shape
from keraslip.typing import Array


def conv_kernel(kernel: Array, geometry: ConvGeometry, channels: int) -> Array:
    return kernel


adjoint_kernel = conv_kernel


def conv(x: Array, kernel: Array, geometry: ConvGeometry) -> Array:
    image, size = x.shape[1:3], kernel.shape
    sides = geometry.padded(image, size)
    padded = np.zeros((len(x), *_lengths(image, sides), x.shape[3]), x.dtype)
    padded[:, _inside(sides[0], image[0]), _inside(sides[1], image[1])] = x
    out_image = geometry.out_image(image, size)
    out = np.zeros((len(x), *out_image, size[3]), x.dtype)
    for i, j, rows, columns in geometry.windows(out_image, size):
        out += _forward(padded[:, rows, columns], kernel[i, j], geometry.groups)
    return out


def conv_adjoint(
    y: Array, kernel: Array, geometry: ConvGeometry, in_shape: Shape, left: Shape
) -> Array:
    image, size = in_shape[:2], kernel.shape
    sides = geometry.padded(image, size)
    padded = np.zeros((len(y), *_lengths(image, sides), in_shape[2]), y.dtype)
    for i, j, rows, columns in geometry.windows(y.shape[1:3], size):
        padded[:, rows, columns] += _backward(y, kernel[i, j], geometry.groups)
    inside = padded[:, _inside(sides[0], image[0]), _inside(sides[1], image[1])]
    return np.ascontiguousarray(inside)


def _lengths(image: Shape, sides: list[tuple[int, int]]) -> list[int]:
    return [before + n + after for n, (before, after) in zip(image, sides, strict=True)]


def _inside(side: tuple[int, int], size: int) -> slice:
    return slice(side[0], side[0] + size)


def _forward(view: Array, tap: Array, groups: int) -> Array:
    """Channels `(..., in)` through one tap `(in / groups, out)`, all groups at once."""
    if groups == 1:
        return np.asarray(view @ tap)
    inner, shape = tap.shape[0], view.shape[:-1]
    if inner == 1:
        return np.asarray(view[..., None] * tap.reshape(groups, -1)).reshape(*shape, -1)
    parts = view.reshape(-1, groups, inner).transpose(1, 0, 2)
    out = parts @ tap.reshape(inner, groups, -1).transpose(1, 0, 2)
    return out.transpose(1, 0, 2).reshape(*shape, -1)


def _backward(y: Array, tap: Array, groups: int) -> Array:
    """The transposed map of `_forward`."""
    if groups == 1:
        # One product: the transpose is copied once, not for every row of every image.
        return np.asarray((y.reshape(-1, y.shape[-1]) @ tap.T).reshape(*y.shape[:-1], -1))
    inner, shape = tap.shape[0], y.shape[:-1]
    if inner == 1:
        return np.asarray((y.reshape(*shape, groups, -1) * tap.reshape(groups, -1)).sum(axis=-1))
    parts = y.reshape(-1, groups, tap.shape[1] // groups).transpose(1, 0, 2)
    out = parts @ tap.reshape(inner, groups, -1).transpose(1, 2, 0)
    return out.transpose(1, 0, 2).reshape(*shape, -1)


def average_pool(x: Array, sides: tuple[Array, Array], pool: PoolGeometry) -> Array:
    """By the shares that the backend's pooling has."""
    return np.einsum("bhwc,hp,wq->bpqc", x, *sides, optimize=True)
