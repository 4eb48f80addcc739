"""The sparse matrix of a convolution."""

from typing import Any

import numpy as np
from scipy import sparse

from keraslip.certify.norms.geometry import Pair, positions


def conv_matrix(
    kernel: np.ndarray,
    image: Pair,
    strides: Pair,
    left: Pair,
    dilation: Pair,
    groups: int,
    out_image: Pair,
) -> Any:
    """Matrix of a zero-padded convolution between flattened images, channels last.

    Entries are the kernel's own numbers, zeros among them stored too: rows of one pixel share a pattern.

    Args:
        kernel: Shape `(kernel_height, kernel_width, channels_in / groups, channels_out)`.
        image: Height and width of the input.
        strides: Step along height and width.
        left: Rows above and columns left of the image that are padding.
        dilation: Distance of the taps along height and width.
        groups: Number of independent channel groups.
        out_image: Height and width of the output.

    Returns:
        `scipy.sparse.csr_matrix` of shape `(out_height * out_width * channels_out,
        height * width * channels_in)` in float64, indices sorted.
    """
    kernel = np.asarray(kernel, dtype=np.float64)
    height, width, per_group, out_channels = kernel.shape
    rows, columns = (
        positions(kernel.shape[i], strides[i], left[i], dilation[i], out_image[i]) for i in (0, 1)
    )
    # Axes: output row, output column, tap row, tap column.
    rows, columns = rows[:, None, :, None], columns[None, :, None, :]
    inside = (rows >= 0) & (rows < image[0]) & (columns >= 0) & (columns < image[1])
    pixels = (rows * image[1] + columns).reshape(-1, height * width)
    inside = inside.reshape(pixels.shape)
    # Axes: output pixel, output channel, tap, input channel of the group.
    shape = (len(pixels), out_channels, height * width, per_group)
    stored = np.broadcast_to(inside[:, None, :, None], shape)
    group = np.arange(out_channels) // (out_channels // groups)
    channel = (group * per_group)[:, None] + np.arange(per_group)
    in_channels = per_group * groups
    index = (pixels * in_channels).astype(np.int32)[:, None, :, None]
    index = index + channel.astype(np.int32)[None, :, None, :]
    taps = kernel.reshape(height * width, per_group, out_channels).transpose(2, 0, 1)
    counts = np.repeat(inside.sum(axis=1) * per_group, out_channels)
    starts = np.concatenate([[0], np.cumsum(counts)])
    data = np.broadcast_to(taps[None], shape)[stored]
    size = (len(counts), image[0] * image[1] * in_channels)
    matrix = sparse.csr_matrix((data, index[stored], starts), shape=size)
    matrix.has_canonical_format = True
    return matrix
