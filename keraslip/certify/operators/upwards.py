"""Arithmetics in which bounds are computed: what a pass needs beside the formulas of maps and activations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip.arithmetic import float64
from keraslip.certify.norms.rounding import l2, per_sample, times, up
from keraslip.linear import LinearMap
from keraslip.typing import Tensor


@dataclass(frozen=True)
class Upwards:
    """An arithmetic, and how bounds in it are rounded up."""

    arithmetic: Any  #: `keraslip.arithmetic.float64`, or a graph's.
    up: Callable[..., Tensor]  #: See `keraslip.certify.norms.rounding.up`.
    times: Callable[[Tensor, Tensor], Tensor]  #: See `keraslip.certify.norms.rounding.times`.
    l2: Callable[[Tensor], Tensor]  #: See `keraslip.certify.norms.rounding.l2`.
    largest: Callable[[Tensor], Tensor]  #: The largest entry of every sample, `(batch,)`.
    #: See `keraslip.certify.norms.rounding.per_sample`.
    per_sample: Callable[[Tensor, Tensor], Tensor]

    def map(self, linear_map: LinearMap) -> LinearMap:
        """A float64 map in this arithmetic."""
        same = linear_map.arithmetic is self.arithmetic
        return linear_map if same else linear_map.to(self.arithmetic)


def largest(x: np.ndarray) -> np.ndarray:
    """The largest entry of every sample, `(batch,)`; NaN if one is."""
    return np.asarray(x.reshape(len(x), -1).max(axis=1))


NUMPY = Upwards(float64, up, times, l2, largest, per_sample)
