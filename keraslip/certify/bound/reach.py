"""What a pass knows of a ball: radii as lines in epsilon, and the weights they come with."""

from dataclasses import dataclass

import numpy as np

from keraslip.activations import Slopes
from keraslip.certify.norms.rounding import per_sample, times, up


@dataclass(frozen=True, eq=False)
class Reach:
    """A radius that grows with epsilon: `gain * epsilon + rounding`, each `(batch,)`.

    At a distance t below epsilon `gain * t + rounding` holds, so that radii can be read off.

    Args:
        gain: Lipschitz part.
        rounding: What rounding may have added.
    """

    gain: np.ndarray
    rounding: np.ndarray

    def at(self, epsilon: np.ndarray) -> np.ndarray:
        """The radius at epsilon, `(batch,)`."""
        return up(times(self.gain, epsilon) + self.rounding)

    def __add__(self, other: "Reach") -> "Reach":
        return Reach(up(self.gain + other.gain), up(self.rounding + other.rounding))

    def times(self, factor: np.ndarray) -> "Reach":
        """The radius after a map of this norm."""
        return Reach(up(times(self.gain, factor)), up(times(self.rounding, factor)))

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


@dataclass(frozen=True, eq=False)
class View:
    """One way to bound a ball: `h' - h = diag(columns) g` with `||g|| <= reach`.

    Args:
        reach: Radius of g.
        columns: Weights in [0, 1], `(batch, *shape)`, or `None` for ones.
    """

    reach: Reach
    columns: np.ndarray | None

    @classmethod
    def of(cls, reach: Reach, weights: np.ndarray) -> "View":
        """A view with weights of any size: of what is larger than 1 the radius takes a share."""
        # Norms of rows may leave weights out, which none above 1 would survive.
        if not (weights > 1.0).any():
            return cls(reach, weights)
        most = np.maximum(weights.reshape(len(weights), -1).max(axis=1), 1.0)
        return cls(reach.times(most), np.minimum(up(weights / per_sample(most, weights)), 1.0))


@dataclass(frozen=True, eq=False)
class ProvedBall:
    """What a pass knows of an activation, or of the input.

    Args:
        views: Ways to bound it. Masked norms use the first one.
        z: The activation's input at the center, `None` for the network's input.
        rho: Half width of its box.
        error: Rounding error of z.
        slopes: The activation's slopes.
    """

    views: tuple[View, ...]
    z: np.ndarray | None = None
    rho: np.ndarray | None = None
    error: np.ndarray | None = None
    slopes: Slopes | None = None
