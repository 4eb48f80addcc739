"""What a pass knows of a ball: radii as lines in epsilon, and the weights they come with."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np

from keraslip.activations import Slopes
from keraslip.certify.norms.rounding import up
from keraslip.certify.operators import NUMPY, Upwards
from keraslip.linear.magnitudes import hypotenuse
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class Reach:
    """A radius that grows with epsilon: `gain * epsilon + rounding`, each `(batch,)`.

    At a distance t below epsilon `gain * t + rounding` holds, so that radii can be read off.
    """

    gain: Tensor  #: Lipschitz part.
    rounding: Tensor  #: What rounding may have added.
    upwards: Upwards = NUMPY  #: The arithmetic of both.

    def at(self, epsilon: Tensor) -> Tensor:
        """The radius at epsilon, `(batch,)`."""
        return self.upwards.up(self.upwards.times(self.gain, epsilon) + self.rounding)

    def __add__(self, other: "Reach") -> "Reach":
        up = self.upwards.up
        gain, rounding = self.gain + other.gain, self.rounding + other.rounding
        return Reach(up(gain), up(rounding), self.upwards)

    def beside(self, other: "Reach") -> "Reach":
        """The radius of two parts with no entry in common."""
        up, length = self.upwards.up, partial(hypotenuse, self.upwards.arithmetic)
        gain, rounding = length(self.gain, other.gain), length(self.rounding, other.rounding)
        return Reach(up(gain, 4), up(rounding, 4), self.upwards)

    def times(self, factor: Tensor) -> "Reach":
        """The radius after a map of this norm."""
        up, times = self.upwards.up, self.upwards.times
        return Reach(up(times(self.gain, factor)), up(times(self.rounding, factor)), self.upwards)

    def of(self, samples: np.ndarray) -> "Reach":
        """The radii of some samples."""
        return Reach(self.gain[samples], self.rounding[samples])

    def least(self, other: "Reach", epsilon: np.ndarray) -> "Reach":
        """For every sample the bound that is smaller at epsilon."""
        mine = self.at(epsilon) <= other.at(epsilon)
        return Reach(
            np.where(mine, self.gain, other.gain), np.where(mine, self.rounding, other.rounding)
        )

    def plus_rounding(self, error: np.ndarray) -> "Reach":
        """The radius with one more rounding error."""
        return Reach(self.gain, up(self.rounding + error))


def smallest(bounds: Iterable[Reach], epsilon: np.ndarray) -> Reach:
    """For every sample the bound that is smallest at epsilon."""
    return reduce(lambda best, bound: best.least(bound, epsilon), bounds)


@dataclass(frozen=True, eq=False)
class View:
    """One way to bound a ball: `h' - h = diag(columns) g` with `||g|| <= reach`."""

    reach: Reach  #: Radius of g.
    columns: Tensor | None  #: Weights in [0, 1], `(batch, *shape)`, or `None` for ones.

    @classmethod
    def of(cls, reach: Reach, weights: Tensor, lipschitz: float) -> "View":
        """A view with weights of any size: of what is larger than 1 the radius takes a share."""
        # Norms of rows may leave weights out, which none above 1 would survive.
        if lipschitz <= 1.0:
            return cls(reach, weights)
        u, xp = reach.upwards, reach.upwards.arithmetic
        most = xp.maximum(u.largest(weights), 1.0)
        shares = u.up(weights / u.per_sample(most, weights))
        return cls(reach.times(most), xp.minimum(shares, 1.0))


@dataclass(frozen=True, eq=False)
class ProvedBall:
    """What a pass knows of an activation, or of the input."""

    views: tuple[View, ...]  #: Ways to bound it. Masked norms use the first one.
    #: The activation's input at the center, `None` for the network's input.
    z: np.ndarray | None = None
    rho: np.ndarray | None = None  #: Half width of its box.
    error: np.ndarray | None = None  #: Rounding error of z.
    slopes: Slopes | None = None  #: The activation's slopes.
