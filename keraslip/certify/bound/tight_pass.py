"""Passes whose boxes are composite bounds themselves, where an activation is open and that pays."""

from typing import Any

import numpy as np

from keraslip.certify.bound.comparing import Compared
from keraslip.certify.bound.composite import entries_reach
from keraslip.certify.bound.nodes import ActivationNode, Node
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.reach import Reach
from keraslip.certify.bound.sound_pass import SoundPass

#: Entries of a tensor that go back through the network at once, over all rows.
_ENTRIES = 2**18
#: Operations of the slopes, for every entry of an activation that a row passes.
_SLOPES = 30
#: Rows that a guess looks at, and the share of their mean that it hopes for.
_LOOKS, _HOPE = 6, 0.9


class TightPass(SoundPass):
    """A `SoundPass` that narrows the boxes of entries whose slope is not certain (P11).

    Args:
        given: As for `SoundPass`.
        most: Operations for the boxes of one sample at one activation; where it takes more they stay.
    """

    def __init__(self, *given: Any, most: float) -> None:
        self._most = most
        #: Narrower boxes of some steps at epsilon, infinite where nothing is known.
        self._narrow: dict[int, np.ndarray] = {}
        super().__init__(*given)

    def box(self, node: Node) -> np.ndarray:
        """How far every entry of a step's output can be from its center, `(batch, *shape)`."""
        box = super().box(node)
        return np.minimum(box, self._narrow[node.index]) if node.index in self._narrow else box

    def activate(self, node: ActivationNode) -> None:
        """Closes a ball, once more where its boxes have become narrower."""
        # Rows of the input's ball alone are exact, and so are their norms.
        if set(node.sources[0].terms) != {0} and self._price(node) <= self._most:
            norms, self.norms = self.norms, global_norms
            super().activate(node)
            self._look(node)
            self.norms = norms
        super().activate(node)

    def _look(self, node: ActivationNode) -> None:
        """Narrows what an activation leaves open."""
        ball, how = self.balls[node.index], node.activation.comparisons(node.shape)
        slopes, entries = ball.slopes, int(np.prod(node.shape))
        assert slopes is not None
        if slopes.low is not None and slopes.high is not None:
            bent = (slopes.low < slopes.high).reshape(len(self.epsilon), -1)
            self._narrow_boxes(node, bent)
        elif how is not None:
            compared = Compared(self, node, how)
            bent = np.zeros((len(self.epsilon), entries), dtype=bool)
            bent[:, how.groups] = compared.bent[:, :, None]
            self._narrow_boxes(node, bent)
            for pair, (unsure, wide) in compared.unsure.items():
                places = how.groups.T[list(pair)]
                self.nearer[node.index, *pair] = self._lines(node, unsure, wide, places)

    def _narrow_boxes(self, node: ActivationNode, wanted: np.ndarray) -> None:
        source = node.sources[0]
        lines = tuple(line.copy() for line in self.box_line(source))
        box = self.box(source)
        every = np.arange(wanted.shape[1])[None]
        found = self._lines(node, wanted, box.reshape(wanted.shape), every)
        gain, rounding, at = (part.reshape(box.shape) for part in found)
        self.lines[source.index] = tuple(
            np.where(at < box, new, old) for new, old in zip((gain, rounding), lines, strict=True)
        )
        self._narrow[source.index] = at

    def _lines(
        self, node: ActivationNode, wanted: np.ndarray, known: np.ndarray, places: np.ndarray
    ) -> np.ndarray:
        """Gain, rounding, and both at epsilon, of how far entries at places move, see `entries_reach`.

        Infinite where they are not wanted, or no better than what is `known`, `(batch, columns)`.
        """
        found = np.full((3, *known.shape), np.inf)
        rows = np.where(wanted.sum(axis=1) * self._price(node) <= self._most)[0]
        for sample in rows:
            some = wanted[sample] & np.isfinite(known[sample]) & (known[sample] > 0.0)
            which = np.flatnonzero(some)
            if not len(which):
                continue
            reach = self._reach(node, sample, known[sample, which], places[:, which])
            at = reach.at(self.epsilon[[sample]])
            line = np.stack([reach.gain, reach.rounding, at])
            found[:, sample, which] = np.where(at < known[sample, which], line, np.inf)
        return found

    def _price(self, node: ActivationNode) -> float:
        """Operations for the box of one entry, about: both signs go back to the input."""
        before = [one for index, one in self.network.activations.items() if index <= node.index]
        operators = [operator for one in before for operator in one.sources[0].terms.values()]
        return float(sum(2 * op.outputs * (op.terms + _SLOPES) for op in operators))

    def _reach(
        self, node: ActivationNode, sample: int, known: np.ndarray, places: np.ndarray
    ) -> Reach:
        size = max(1, _ENTRIES // (2 * self.network.widest))
        parts = [
            entries_reach(self, node, sample, places[:, k : k + size])
            for k in range(0, len(known), size)
        ]
        return Reach(
            np.concatenate([part.gain for part in parts]),
            np.concatenate([part.rounding for part in parts]),
        )


class HopefulPass(TightPass):
    """Guesses of a `TightPass` from a few of its rows. Never part of a certificate."""

    def _reach(
        self, node: ActivationNode, sample: int, known: np.ndarray, places: np.ndarray
    ) -> Reach:
        some = np.unique(np.linspace(0, len(known) - 1, _LOOKS).astype(int))
        reach = super()._reach(node, sample, known[some], places[:, some])
        at = reach.at(self.epsilon[[sample]])
        share = _HOPE * float(np.mean(np.minimum(at / known[some], 1.0)))
        return Reach(np.zeros_like(known), share * known)
