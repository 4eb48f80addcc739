"""Where the taps of a zero-padded convolution fall."""

from dataclasses import dataclass

import numpy as np

Pair = tuple[int, int]


def positions(kernel: int, stride: int, left: int, dilation: int, out: int) -> np.ndarray:
    """Input position that each output reads through each tap along one axis, shape `(out, kernel)`.

    Positions outside the image are padding.
    """
    return np.arange(out)[:, None] * stride + np.arange(kernel) * dilation - left


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


def torus_axis(
    size: int, kernel: int, stride: int, left: int, dilation: int, out: int
) -> TorusAxis:
    """The smallest torus for one axis. Arguments as for `conv_norm`."""
    reads = positions(kernel, stride, left, dilation, out)
    inside = (reads >= 0) & (reads < size)
    taps, outputs = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    offset = taps * dilation - left
    if taps.size == 0:
        return TorusAxis(taps, offset, offset, 0)
    used = reads[outputs[0] : outputs[-1] + 1][:, taps]
    length = max(size, size - int(used.min()), int(used.max()) + 1)
    return TorusAxis(taps, offset // stride, offset % stride, -(-length // stride))
