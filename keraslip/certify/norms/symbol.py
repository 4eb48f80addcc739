"""Fourier symbol of a strided circular convolution."""

import math
from dataclasses import dataclass

import numpy as np

from keraslip.certify.norms.geometry import Convolution, TorusAxis, torus_axis
from keraslip.certify.norms.rounding import INFLATION, UNIT64, frobenius_bound, gamma


@dataclass(frozen=True)
class Symbol:
    """A strided circular convolution as one small matrix for each frequency.

    With the input split into its `stride_h * stride_w` phases, every phase is convolved without stride.
    Tap t at offset `stride * q + r` goes to phase r, with factor `exp(2 pi i f q / period)`.
    """

    axes: tuple[TorusAxis, TorusAxis]  #: The torus along height and width.
    #: Taps that count, shape `(taps, groups, out channels of a group, in channels of a group)`.
    weights: np.ndarray
    phases: list[np.ndarray]  #: For every phase that is read, the indices of its taps.

    def frequencies(self) -> np.ndarray:
        """Pairs of frequencies, shape `(count, 2)`: of every conjugate pair along the width, one."""
        height, width = self.axes[0].period, self.axes[1].period
        grid = np.meshgrid(np.arange(height), np.arange(width // 2 + 1), indexing="ij")
        return np.stack([axis.ravel() for axis in grid], axis=1)

    def shape(self) -> tuple[int, int]:
        """Rows and columns of one group's matrix."""
        return self.weights.shape[2], self.weights.shape[3] * len(self.phases)

    def at(self, frequencies: np.ndarray) -> np.ndarray:
        """Matrices at some frequencies, shape `(count * groups, rows, columns)`."""
        height, width = (
            _turns(frequencies[:, i], self.axes[i].shift, self.axes[i].period) for i in (0, 1)
        )
        factors = (height[:, :, None] * width[:, None, :]).reshape(len(frequencies), -1)
        _, groups, rows, columns = self.weights.shape
        result = np.empty(
            (len(frequencies), groups, rows, len(self.phases), columns), np.complex128
        )
        for phase, taps in enumerate(self.phases):
            weights = self.weights[taps].reshape(len(taps), -1)
            part, shape = factors[:, taps], (len(frequencies), groups, rows, columns)
            result[:, :, :, phase].real = (part.real @ weights).reshape(shape)
            result[:, :, :, phase].imag = (part.imag @ weights).reshape(shape)
        return result.reshape(-1, rows, len(self.phases) * columns)

    def magnitude(self) -> float:
        """Bound of the Frobenius norm of any group's matrix of absolute sums `sum |W_t|`."""
        squares = sum(
            np.square(np.abs(self.weights[taps]).sum(axis=0)).sum(axis=(1, 2))
            for taps in self.phases
        )
        return frobenius_bound(float(np.max(squares)), self.weights.size) * INFLATION

    def error(self) -> float:
        """Bound of the norm of the rounding error of any matrix that `at` returns."""
        # The angle 2 pi k / period, k an exact integer below the period, is off by 3 roundings of at most
        # 2 pi: 19 u. Sine and cosine within 4 ulp add 12 u, so one factor errs by 32 u and the product of
        # two by 68 u. Each of two real sums of n terms adds gamma_n, together below gamma_2n.
        return gamma(2 * len(self.weights) + 80, UNIT64) * self.magnitude() * INFLATION


def _turns(frequency: np.ndarray, shift: np.ndarray, period: int) -> np.ndarray:
    """Factors `exp(2 pi i f q / period)`, shape `(frequencies, taps)`."""
    return np.asarray(np.exp(2j * math.pi * ((frequency[:, None] * shift) % period / period)))


def conv_symbol(conv: Convolution) -> Symbol | None:
    """Symbol of the smallest torus that contains a convolution; `None` if no tap meets the image."""
    height, width = torus_axis(conv, 0), torus_axis(conv, 1)
    if not (height.period and width.period):
        return None
    taps, (_, _, per_group, channels) = (
        conv.kernel[np.ix_(height.taps, width.taps)],
        conv.kernel.shape,
    )
    taps = taps.reshape(-1, per_group, conv.groups, channels // conv.groups)
    phase = (height.phase[:, None] * conv.strides[1] + width.phase).ravel()
    phases = [np.flatnonzero(phase == each) for each in np.unique(phase)]
    return Symbol((height, width), np.ascontiguousarray(taps.transpose(0, 2, 3, 1)), phases)
