"""Activations that compare entries, as proofs take them apart: sorting, maxima and minima."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Groups of entries whose pairs are compared one after the other.

    Args:
        groups: Flat places of the entries of every group, `(groups, size)`.
        pairs: Columns `(i, j)` of `groups`: the larger of both entries goes to i, the smaller one to j.
        clips: By column, behind the last comparison: the clip of every group, `(groups,)`, and whether it is
            the largest value, not the smallest one.
        kept: Columns whose entries are outputs, in their places; the others become zero. All if `None`.
        there: Which entries count, `(groups, size)`; all if `None`.
    """

    groups: np.ndarray
    pairs: tuple[tuple[int, int], ...]
    clips: dict[int, tuple[np.ndarray, bool]] = field(default_factory=dict)
    kept: tuple[int, ...] | None = None
    there: np.ndarray | None = None
