"""Through activations that compare entries: which order is certain in a ball, and what is open.

With p and q two numbers, `max = (p + q) / 2 + |p - q| / 2` and `min = (p + q) / 2 - |p - q| / 2`. So a
comparison is linear but for one unit, `|p - q|`, whose slopes are known from how far p - q can move.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from keraslip.activations.activation import Comparisons
from keraslip.certify.bound.kinks import CLIPS, SIZE, Bend, Open
from keraslip.certify.bound.nodes import ActivationNode, Node
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import times, up
from keraslip.certify.operators import WRITTEN, Differences

#: Groups up to this size know how far any two of their entries move apart; larger ones take their boxes.
_SMALL = 9
#: Stands for "no other entry".
_ALONE = -1
#: A comparison rounds a coefficient so many times.
_ROUNDINGS = 6
#: `sqrt(2)`, rounded up: a difference of two entries against both of them.
_ROOT = 1.4142135623730952
#: Further than anything in a network; infinity has no distance.
_FAR = 1e300


@dataclass(frozen=True, eq=False)
class _Comparison:
    larger: int
    smaller: int
    bend: Bend
    first: np.ndarray  #: Where the one that goes to `larger` is certain to be it.
    second: np.ndarray  #: Where the other one is.


class Compared:
    """An activation that compares entries, in the balls of a pass."""

    def __init__(self, found: SoundPass, node: ActivationNode, how: Comparisons) -> None:
        self.how = how
        ball, size = found.balls[node.index], how.groups.shape[1]
        assert ball.z is not None and ball.rho is not None
        gain, rounding = found.box_line(node.sources[0])
        self._values = [_column(ball.z, places) for places in how.groups.T]
        #: How far entries, and differences of two of them, move: gain, rounding, and at epsilon.
        self._wide: dict[tuple[int, int], np.ndarray] = {}
        for k, places in enumerate(how.groups.T):
            box = np.stack([_column(part, places) for part in (gain, rounding, ball.rho)])
            self._wide[_ALONE, k] = box
        self._leave_out()
        if size <= _SMALL:
            for i in range(size):
                for j in range(i + 1, size):
                    self._wide[i, j] = self._apart(found, node, i, j)
        #: By pair of columns, where their order is not certain, and how far they move apart.
        self.unsure = {
            (i, j): (np.abs(self._values[i] - self._values[j]) < wide[2], wide[2])
            for (i, j), wide in self._wide.items()
            if i != _ALONE
        }
        self._comparisons = [self._compare(*pair) for pair in how.pairs]
        self._clips = {k: self._clip(k, *clip) for k, clip in how.clips.items()}
        #: Groups whose entries' own boxes count, as with a clip inside, `(batch, groups)`.
        self.bent = np.full(self._values[0].shape, size > _SMALL)
        for bend in self._clips.values():
            self.bent |= np.abs(bend.t) < bend.wide[2]
        #: Coefficients round so many times on the way.
        self.roundings = _ROUNDINGS * (len(self._comparisons) + len(self._clips))

    def _leave_out(self) -> None:
        """Entries that do not count never win, and never move."""
        if self.how.there is None or not self.how.pairs:
            return
        # They are kept where the smaller ones go by how pairs are ordered.
        far = -_FAR if self.how.pairs[0][0] < self.how.pairs[0][1] else _FAR
        for k, there in enumerate(self.how.there.T):
            self._values[k] = np.where(there, self._values[k], far)
            self._wide[_ALONE, k] = np.where(there, self._wide[_ALONE, k], 0.0)

    def _apart(self, found: SoundPass, node: ActivationNode, i: int, j: int) -> np.ndarray:
        """How far two columns move apart: by the norms of differences of rows, or by both boxes."""
        first, second = self.how.groups.T[[i, j]]
        both = up(self._wide[_ALONE, i] + self._wide[_ALONE, j])
        size = self.how.groups.shape[1]
        wide = _difference(found, node.sources[0], first, second, size * (size - 1) // 2)
        wide[2] = np.minimum(wide[2], both[2])
        if (node.index, i, j) in found.nearer:
            nearer = found.nearer[node.index, i, j]
            wide = np.where(nearer[2] < wide[2], nearer, wide)
        if self.how.there is not None:
            wide = np.where(self.how.there[:, i] & self.how.there[:, j], wide, both)
        return wide

    def _width(self, i: int, j: int) -> np.ndarray:
        i, j = min(i, j), max(i, j)
        if (i, j) in self._wide:
            return self._wide[i, j]
        return up(self._wide[_ALONE, i] + self._wide[_ALONE, j])

    def _compare(self, larger: int, smaller: int) -> _Comparison:
        p, q = self._values[larger], self._values[smaller]
        wide = self._width(larger, smaller)
        # A difference rounds relative to itself, which the inflation of the widths covers.
        bend = Bend.of(SIZE, p - q, wide)
        first, second = bend.t >= wide[2], -bend.t >= wide[2]
        self._values[larger], self._values[smaller] = np.maximum(p, q), np.minimum(p, q)
        for k in (_ALONE, *range(len(self._values))):
            pair = [(min(k, end), max(k, end)) for end in (larger, smaller)]
            if k in (larger, smaller) or pair[0] not in self._wide:
                continue
            mine, other = (self._wide[key] for key in pair)
            either = np.maximum(mine, other)
            self._wide[pair[0]] = np.where(first, mine, np.where(second, other, either))
            self._wide[pair[1]] = np.where(first, other, np.where(second, mine, either))
        return _Comparison(larger, smaller, bend, first, second)

    def _clip(self, column: int, clip: np.ndarray, above: bool) -> Bend:
        beyond = self._values[column] - np.clip(clip, -_FAR, _FAR)
        return Bend.of(CLIPS[above], beyond, self._wide[_ALONE, column])

    def back(self, c: np.ndarray, rows: Any) -> tuple[np.ndarray, np.ndarray, list[Open]]:
        """Carries coefficients of the outputs `(pairs, *shape)` back, `rows` naming the sample of every pair.

        Returns coefficients of the inputs, magnitudes that their rounding is relative to, and what is open.
        """
        kept = range(self.how.groups.shape[1]) if self.how.kept is None else self.how.kept
        ahead = [
            _column(c, places) * (1.0 if k in kept else 0.0)
            for k, places in enumerate(self.how.groups.T)
        ]
        size, left = [np.abs(part) for part in ahead], []
        for k, bend in self._clips.items():
            slope, rest = bend.back(ahead[k], rows, 1.0)
            ahead[k] = ahead[k] * slope
            left.append(rest)
        for one in reversed(self._comparisons):
            i, j, first, second = one.larger, one.smaller, one.first[rows], one.second[rows]
            half = 0.5 * (ahead[i] - ahead[j])
            slope, rest = one.bend.back(half, rows, _ROOT)
            left.append(rest)
            same, moved = 0.5 * (ahead[i] + ahead[j]), half * slope
            for parts, ends in (
                (ahead, (same + moved, same - moved)),
                (size, (size[i] + size[j], size[i] + size[j])),
            ):
                parts[i], parts[j] = (
                    np.where(first, mine, np.where(second, other, end))
                    for mine, other, end in zip(
                        (parts[i], parts[j]), (parts[j], parts[i]), ends, strict=True
                    )
                )
        return self._joined(ahead, c), self._joined(size, c), left

    def _joined(self, parts: list[np.ndarray], like: np.ndarray) -> np.ndarray:
        flat = np.empty((len(like), like[0].size))
        for places, part in zip(self.how.groups.T, parts, strict=True):
            flat[:, places] = part
        return flat.reshape(like.shape)


def _difference(
    found: SoundPass, node: Node, first: np.ndarray, second: np.ndarray, share: int
) -> np.ndarray:
    """How far pairs of a step's outputs move apart: gain, rounding, and at epsilon, `(3, batch, pairs)`."""
    error = found.errors[node.index]
    gain, at = np.zeros((2, len(error), len(first)))
    rounding = _column(error, first) + _column(error, second)
    at = at + rounding
    known = found.network.differences
    for ball, operator in node.terms.items():
        # All places: activations that group one tensor in different ways may share the first ones.
        key = node.index, ball, first.tobytes(), second.tobytes()
        if key not in known:
            known[key] = Differences(operator, first, second, WRITTEN // share)
        views = found.balls[ball].views
        norms = [known[key].norms(view.columns) for view in views]
        reaches = [
            times(view.reach.at(found.epsilon)[:, None], norm)
            for view, norm in zip(views, norms, strict=True)
        ]
        at = at + reduce(np.minimum, reaches)
        gain = gain + times(views[0].reach.gain[:, None], norms[0])
        rounding = rounding + times(views[0].reach.rounding[:, None], norms[0])
    return up(np.stack([gain, rounding, at]))


def _column(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)[:, places]
