"""Units with one kink: what a comparison or a clip leaves open."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip.activations import PiecewiseLinear, Slopes
from keraslip.arithmetic import float64
from keraslip.certify.norms.rounding import times

#: `|t|`, and `min(t, 0)` and `max(t, 0)` of how far a value is above a clip.
SIZE = PiecewiseLinear((0.0,), (-1.0, 1.0), arithmetic=float64)
CLIPS = {
    True: PiecewiseLinear((0.0,), (1.0, 0.0), arithmetic=float64),
    False: PiecewiseLinear((0.0,), (0.0, 1.0), arithmetic=float64),
}


@dataclass(frozen=True, eq=False)
class Open:
    """A sum `sum weight |t' - t|` that a comparison or a clip leaves open, by group."""

    weight: np.ndarray  #: `(pairs, groups)`.
    gain: np.ndarray  #: How far t moves is at most `gain * epsilon + rounding`.
    rounding: np.ndarray
    #: The length of all changes of t, as a multiple of that of the activation's input.
    stretch: float


@dataclass(frozen=True, eq=False)
class Bend:
    """One unit with a kink at zero."""

    kind: PiecewiseLinear
    t: np.ndarray  #: Where it is, `(batch, groups)`.
    wide: np.ndarray  #: How far it moves: gain, rounding, and at epsilon, `(3, batch, groups)`.
    slopes: Slopes

    @classmethod
    def of(cls, kind: PiecewiseLinear, t: np.ndarray, wide: np.ndarray) -> "Bend":
        return cls(kind, t, wide, kind.slopes(t, wide[2], False))

    def back(self, c: np.ndarray, rows: Any, stretch: float) -> tuple[np.ndarray, Open]:
        """The slope behind coefficients, and what it leaves open."""
        found = self.kind.support(c, self.t[rows], self.wide[2][rows], self.slopes.of(rows))
        assert found is not None
        gain, rounding = self.wide[0][rows], self.wide[1][rows]
        return found[0], Open(times(np.abs(c), found[1]), gain, rounding, stretch)
