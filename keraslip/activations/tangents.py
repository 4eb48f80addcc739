"""Tangents from a point of a graph to another part of it, from a table: any of them is on the safe side."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip.arithmetic import float64
from keraslip.typing import Array, Tensor

#: Entries of a table, steps of the search, and how far an infinite piece is searched.
_COUNT, _STEPS, _FAR = 512, 60, 30.0
#: Tables, by function, piece and side.
_KNOWN: dict[Any, "Tangents"] = {}


@dataclass(frozen=True, eq=False)
class Tangents:
    """For centers everywhere a line that touches a piece of the graph, and all but meets the center's point.

    Which of a piece's tangents is taken decides how tight a bound is, not whether it holds: the one for a
    center is looked up.
    """

    slope: Array  #: Of the lines, by the center's place.
    height: Array  #: Of the lines at 0.

    def at(self, place: Tensor, arithmetic: Any) -> tuple[Tensor, Tensor]:
        """Slope and height for centers, of which `place_of` said the place, as tensors of an arithmetic."""
        slope, height = (
            arithmetic.lookup(arithmetic.constant(part), place)
            for part in (self.slope, self.height)
        )
        return slope, height


def place_of(z: Tensor, arithmetic: Any) -> Tensor:
    """Where in a table a center is found: between 0 and the number of entries, for all numbers."""
    return _COUNT * (0.5 + 0.5 * z / (1.0 + arithmetic.abs(z)))


def tangents(function: Any, piece: Any, side: float) -> Tangents:
    """The tangents of a piece of a `Smooth` function, for centers below it (side 1.0) or above (-1.0)."""
    key = type(function), *function.numbers.values(), piece, side
    if key not in _KNOWN:
        _KNOWN[key] = _made(function.to(float64), piece, side)
    return _KNOWN[key]


def _made(function: Any, piece: Any, side: float) -> Tangents:
    share = (np.arange(_COUNT) + 0.5) / (0.5 * _COUNT) - 1.0
    z = share / (1.0 - np.abs(share))
    near, end = (piece.start, piece.end)[:: int(side)]
    first, last = np.full_like(z, near), np.full_like(z, near + side * min(_FAR, abs(end - near)))
    with np.errstate(all="ignore"):
        here = function.call(z)
        for _ in range(_STEPS):
            point = 0.5 * (first + last)
            above = function.call(point) + function.derivative(point) * (z - point) - here
            # Tangents further away pass the center's point on the other side.
            before = above * piece.curve > 0.0
            first, last = np.where(before, point, first), np.where(before, last, point)
    slope = function.derivative(point)
    return Tangents(slope, function.call(point) - slope * point)
