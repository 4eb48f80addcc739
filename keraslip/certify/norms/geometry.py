"""Where the taps of a zero-padded convolution fall: on the image, on a torus, in a matrix."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from keraslip.typing import Shape


class Convolution(NamedTuple):
    """A zero-padded two-dimensional convolution of images with channels last."""

    #: Shape `(kernel_height, kernel_width, channels_in / groups, channels_out)`, as in Keras.
    kernel: np.ndarray
    image: Shape  #: Height and width of the input.
    strides: Shape  #: Step along height and width.
    left: Shape  #: Rows above and columns left of the image that are padding.
    dilation: Shape  #: Distance of the taps along height and width.
    groups: int  #: Number of independent channel groups.
    #: Height and width of the output, which imply the padding on the other side: output p reads input `p
    #: * stride + tap * dilation - left`.
    out_image: Shape

    def positions(self, axis: int) -> np.ndarray:
        """Input position that each output reads through each tap along an axis, shape `(out, kernel)`.

        Positions outside the image are padding.
        """
        outputs, taps = np.arange(self.out_image[axis]), np.arange(self.kernel.shape[axis])
        return outputs[:, None] * self.strides[axis] + taps * self.dilation[axis] - self.left[axis]


@dataclass(frozen=True)
class TorusAxis:
    """One axis of a circular convolution that contains a zero-padded one.

    Output p reads position `p * stride + offset`, with `offset = stride * shift + phase`. Reduced modulo
    the torus' length, a position of the padding must not fall on a pixel. The positions in use span
    `[low, high]`: a negative one wraps to at least `length + low`, one beyond the image must not wrap, so
    length >= max(size - low, high + 1). Two outputs in use are then never the same on the torus either,
    for the tap through which the first meets the image would read beyond `high` from the second.
    """

    taps: np.ndarray  #: Taps that meet the image from some output; the others multiply zeros only.
    shift: np.ndarray  #: Whole strides of each tap's offset.
    phase: np.ndarray  #: Remainder of each tap's offset, in `[0, stride)`.
    #: Number of outputs on the torus, its length over the stride. 0 if nothing meets the image.
    period: int


def torus_axis(conv: Convolution, axis: int) -> TorusAxis:
    """The smallest torus for one axis."""
    reads, size, stride = conv.positions(axis), conv.image[axis], conv.strides[axis]
    inside = (reads >= 0) & (reads < size)
    taps, outputs = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    offset = taps * conv.dilation[axis] - conv.left[axis]
    if taps.size == 0:
        return TorusAxis(taps, offset, offset, 0)
    used = reads[outputs[0] : outputs[-1] + 1][:, taps]
    length = max(size, size - int(used.min()), int(used.max()) + 1)
    return TorusAxis(taps, offset // stride, offset % stride, -(-length // stride))


def conv_matrix(conv: Convolution) -> Any:
    """Matrix of a convolution between flattened images: a `csr_matrix` in float64, indices sorted.

    Entries are the kernel's own numbers, zeros among them stored too: rows of one pixel share a pattern.
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
