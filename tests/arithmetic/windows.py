"""Calls of convolutions and pooling, and what they should give by a matrix that is written out."""

from typing import Any

import numpy as np

from keraslip.arithmetic.geometry import ConvGeometry, PoolGeometry

RNG = np.random.default_rng(0)
#: Two groups, of two channels and three filters each.
IMAGE, GEOMETRY = (5, 4, 4), ConvGeometry((2, 2), "same", groups=2)
KERNEL = RNG.normal(size=(3, 3, 2, 6))


def matrix() -> np.ndarray:
    """The convolution's `(outputs, inputs)`, from its definition."""
    height, width = GEOMETRY.out_image(IMAGE, KERNEL.shape)
    top, left = GEOMETRY.left(IMAGE, KERNEL.shape)
    full = np.zeros((height, width, 6, *IMAGE))
    for p, q, i, j in np.ndindex(height, width, 3, 3):
        row, column = 2 * p + i - top, 2 * q + j - left
        if 0 <= row < IMAGE[0] and 0 <= column < IMAGE[1]:
            for g in range(2):
                out, inside = slice(3 * g, 3 * g + 3), slice(2 * g, 2 * g + 2)
                full[p, q, out, row, column, inside] = KERNEL[i, j, :, out].T
    return full.reshape(height * width * 6, -1)


X, Y = RNG.normal(size=(2, *IMAGE)), RNG.normal(size=(2, 3, 2, 6))
SIDES = np.kron(np.eye(2), np.full((2, 1), 0.5))
CALLS: dict[str, tuple[tuple[Any, ...], np.ndarray]] = {
    "conv_kernel": ((KERNEL, GEOMETRY, 4), KERNEL),
    "conv": ((X, KERNEL, GEOMETRY), (X.reshape(2, -1) @ matrix().T).reshape(Y.shape)),
    # In a form of each arithmetic's own: what it makes of it is the next one.
    "adjoint_kernel": ((KERNEL, GEOMETRY, 4), KERNEL),
    "conv_adjoint": (
        (Y, KERNEL, GEOMETRY, IMAGE, GEOMETRY.left(IMAGE, KERNEL.shape)),
        (Y.reshape(2, -1) @ matrix()).reshape(X.shape),
    ),
    "average_pool": (
        (X[:, :4], (SIDES, SIDES), PoolGeometry((2, 2), (2, 2), "valid")),
        X[:, :4].reshape(2, 2, 2, 2, 2, 4).mean(axis=(2, 4)),
    ),
}
