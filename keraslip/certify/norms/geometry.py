"""Where the taps of a zero-padded convolution fall."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from keraslip.typing import Shape


class Convolution(NamedTuple):
    """A zero-padded two-dimensional convolution of images with channels last.

    Args:
        kernel: Shape `(kernel_height, kernel_width, channels_in / groups, channels_out)`, as in Keras.
        image: Height and width of the input.
        strides: Step along height and width.
        left: Rows above and columns left of the image that are padding.
        dilation: Distance of the taps along height and width.
        groups: Number of independent channel groups.
        out_image: Height and width of the output, which imply the padding on the other side: output p reads
            input `p * stride + tap * dilation - left`.
    """

    kernel: np.ndarray
    image: Shape
    strides: Shape
    left: Shape
    dilation: Shape
    groups: int
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

    Args:
        taps: Taps that meet the image from some output; the others multiply zeros only.
        shift: Whole strides of each tap's offset.
        phase: Remainder of each tap's offset, in `[0, stride)`.
        period: Number of outputs on the torus, its length over the stride. 0 if nothing meets the image.
    """

    taps: np.ndarray
    shift: np.ndarray
    phase: np.ndarray
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
