"""The sparse matrix of a convolution."""

from typing import Any

import numpy as np
from scipy import sparse

from keraslip.certify.norms.geometry import Convolution


def conv_matrix(conv: Convolution) -> Any:
    """Matrix of a zero-padded convolution between flattened images, channels last.

    Entries are the kernel's own numbers, zeros among them stored too: rows of one pixel share a pattern.

    Returns:
        `scipy.sparse.csr_matrix` of shape `(out_height * out_width * channels_out,
        height * width * channels_in)` in float64, indices sorted.
    """
    kernel, image = np.asarray(conv.kernel, dtype=np.float64), conv.image
    height, width, per_group, out_channels = kernel.shape
    rows, columns = conv.positions(0), conv.positions(1)
    # Axes: output row, output column, tap row, tap column.
    rows, columns = rows[:, None, :, None], columns[None, :, None, :]
    inside = (rows >= 0) & (rows < image[0]) & (columns >= 0) & (columns < image[1])
    pixels = (rows * image[1] + columns).reshape(-1, height * width)
    inside = inside.reshape(pixels.shape)
    # Axes: output pixel, output channel, tap, input channel of the group.
    shape = (len(pixels), out_channels, height * width, per_group)
    stored = np.broadcast_to(inside[:, None, :, None], shape)
    group = np.arange(out_channels) // (out_channels // conv.groups)
    channel = (group * per_group)[:, None] + np.arange(per_group)
    in_channels = per_group * conv.groups
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
