"""Convolutions for the tests: geometry of the paddings, and the matrix by explicit loops."""

import itertools

import numpy as np

from keraslip.certify.norms.geometry import Convolution


def axis(size: int, kernel: int, stride: int, dilation: int, padding: str) -> tuple[int, int]:
    """Left padding and output size of one axis; the size is not positive where no window fits."""
    reach = (kernel - 1) * dilation + 1
    if padding == "same":
        out = -(-size // stride)
        return max((out - 1) * stride + reach - size, 0) // 2, out
    before, after = {"valid": (0, 0), "asymmetric": (2, 1)}[padding]
    return before, (size + before + after - reach) // stride + 1


def convolution(
    rng: np.random.Generator,
    image: tuple[int, int],
    kernel: int,
    stride: int = 1,
    padding: str = "same",
    dilation: int = 1,
    groups: int = 1,
    channels: tuple[int, int] = (1, 2),
) -> Convolution | None:
    """A square random kernel with channels per group, `None` where no window fits."""
    axes = [axis(size, kernel, stride, dilation, padding) for size in image]
    if min(out for _, out in axes) < 1:
        return None
    weights = rng.standard_normal((kernel, kernel, channels[0], channels[1] * groups))
    (top, out_height), (left, out_width) = axes
    strides, dilations = (stride, stride), (dilation, dilation)
    return Convolution(
        weights, image, strides, (top, left), dilations, groups, (out_height, out_width)
    )


def matrix_by_loops(conv: Convolution) -> np.ndarray:
    """The dense operator, one product after the other."""
    kernel, image, out = conv.kernel, conv.image, conv.out_image
    height, width, per_group, out_channels = kernel.shape
    in_channels = per_group * conv.groups
    result = np.zeros((*out, out_channels, *image, in_channels))
    for p, q, i, j in itertools.product(*map(range, (*out, height, width))):
        row = p * conv.strides[0] + i * conv.dilation[0] - conv.left[0]
        column = q * conv.strides[1] + j * conv.dilation[1] - conv.left[1]
        if not (0 <= row < image[0] and 0 <= column < image[1]):
            continue
        for o, c in itertools.product(range(out_channels), range(per_group)):
            channel = o // (out_channels // conv.groups) * per_group + c
            result[p, q, o, row, column, channel] += kernel[i, j, c, o]
    return result.reshape(np.prod(out) * out_channels, -1)


def true_norm(matrix: np.ndarray) -> float:
    """The spectral norm, good to about 1e-14."""
    return float(np.linalg.svd(matrix.astype(np.float64), compute_uv=False)[0])
