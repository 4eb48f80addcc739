"""Activations that compare entries, as proofs take them apart: sorting, maxima and minima."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Groups of entries whose pairs are compared one after the other."""

    groups: np.ndarray  #: Flat places of the entries of every group, `(groups, size)`.
    #: Columns `(i, j)` of `groups`: the larger of both entries goes to i, the smaller one to j.
    pairs: tuple[tuple[int, int], ...]
    #: By column, behind the last comparison: the clip of every group, `(groups,)`, and whether it is the
    #: largest value, not the smallest one.
    clips: dict[int, tuple[np.ndarray, bool]] = field(default_factory=dict)
    #: Columns whose entries are outputs, in their places; the others become zero. All if `None`.
    kept: tuple[int, ...] | None = None
    there: np.ndarray | None = None  #: Which entries count, `(groups, size)`; all if `None`.
