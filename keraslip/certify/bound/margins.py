"""Margins of the last layer: how much of the gap to each class the ball can close."""

from dataclasses import dataclass

import numpy as np

from keraslip.certify.bound.reach import Reach, smallest
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import INFLATION, UNIT64, gamma, scaled_squares, times, up

#: Numbers in one chunk of class differences: memory stays bounded for many classes.
_CHUNK = 2**24


@dataclass(frozen=True, eq=False)
class Margins:
    """Lower bounds of `logit_y - logit_j` in the ball, for every class j."""

    gap: np.ndarray  #: `logit_y - logit_j` at the center, `(batch, classes)`; infinite at y itself.
    gain: np.ndarray  #: How fast the ball closes it, a Lipschitz constant of the difference.
    rounding: np.ndarray  #: What rounding may have added.
    epsilon: np.ndarray  #: Radii, `(batch,)`.
    #: A bound of what the ball closes at epsilon itself, `(batch, classes)`; it does not scale.
    closed: np.ndarray  #: See below; infinite where nothing is known.

    @property
    def each(self) -> np.ndarray:
        """The margin against every class, `(batch, classes)`."""
        with np.errstate(over="ignore", invalid="ignore"):
            line = up(times(self.gain, self.epsilon[:, None]) + self.rounding)
            return self.gap - np.minimum(line, self.closed)

    @property
    def least(self) -> np.ndarray:
        """The smallest margin, `(batch,)`; NaN where any number is NaN."""
        return self.each.min(axis=1)

    @property
    def radius(self) -> np.ndarray:
        """Where these lines would cross zero, `(batch,)`; 0 if there is no such radius.

        Masks and slopes hold at every radius up to epsilon, so `min(radius, epsilon)` is certified. Gains
        grow with epsilon, so no radius above `max(radius, epsilon)` can be certified by these bounds.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            each = (self.gap - self.rounding) / self.gain / INFLATION
            each = np.where(self.gap - self.rounding <= 0.0, 0.0, each)
            each = np.where(np.isnan(self.each), 0.0, each)
            # Too large for float64, but there is an end.
            each = np.minimum(each, np.finfo("float64").max)
            # Nothing closes the gap: every radius.
            each = np.where((self.gain == 0.0) & (self.gap > self.rounding), np.inf, each)
        return each.min(axis=1)


def margins_of(found: SoundPass, label: np.ndarray) -> Margins:
    """Margins from the pairs of rows of the last layer; class pairs are never built."""
    logits, samples = found.logits, np.arange(len(label))
    gap = logits[samples, label][:, None] - logits
    # Subtracting rounds once.
    rounding = found.logits_error + found.logits_error[samples, label][:, None]
    rounding = up(rounding + gamma(2, UNIT64) * (np.abs(logits) + np.abs(gap)))
    gain = np.zeros_like(gap)
    for ball in found.network.heads:
        extra_gain, extra_rounding = _closed_by(found, ball, label)
        gain, rounding = up(gain + extra_gain), up(rounding + extra_rounding)
    gap[samples, label] = np.where(np.isnan(logits).any(axis=1), np.nan, np.inf)
    gain[samples, label], rounding[samples, label] = 0.0, 0.0
    return Margins(gap, gain, rounding, found.epsilon, np.full_like(gap, np.inf))


def _closed_by(found: SoundPass, ball: int, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gain and rounding, `(batch, classes)`, that one ball adds: the smaller of its views."""
    head, errors, plain = found.network.heads[ball]
    written = errors[label][:, None] + errors
    bounds = []
    for view in found.balls[ball].views:
        norms = up(_difference_norms(head, label, view.columns, plain) + written)
        gain, rounding = (part[:, None] for part in (view.reach.gain, view.reach.rounding))
        bounds.append(Reach(up(times(norms, gain)), up(times(norms, rounding))))
    best = smallest(bounds, found.epsilon[:, None])
    return best.gain, best.rounding


def _difference_norms(
    head: np.ndarray, label: np.ndarray, columns: np.ndarray | None, plain: bool
) -> np.ndarray:
    """`||(w_y - w_j) columns||` for every sample and class, rounded up.

    With `plain` no difference is so small or large that its square is lost.
    """
    classes, entries = head.shape
    weights = None if columns is None else np.square(columns.reshape(len(label), -1))
    norms = np.empty((len(label), classes))
    # Samples of one label share the differences, so that a product of matrices does the work.
    for y in np.unique(label):
        rows = np.flatnonzero(label == y)
        step = max(1, _CHUNK // entries)
        for first in range(0, classes, step):
            apart = head[y] - head[first : first + step]
            squares, power = (np.square(apart), 1.0) if plain else scaled_squares(apart)
            if weights is None:
                sums = squares.sum(axis=1)
            else:
                sums = weights[rows] @ squares.T
            found = np.sqrt(sums)
            norms[rows, first : first + step] = found if plain else times(found, power)
    return up(norms, entries)
