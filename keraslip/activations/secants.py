"""Mean slopes from the center of a box to its points, of functions that bend one way between a few points."""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from keraslip.activations.tangents import place_of, tangents
from keraslip.arithmetic import float64
from keraslip.typing import Tensor

#: More than float64 loses of a value, in units of `1 + offset + lipschitz |z|`.
_VALUE = 1e-14


@dataclass(frozen=True)
class Piece:
    """A part of a function on which its slope only rises, or only falls."""

    start: float  #: Its begin.
    end: float  #: Its end.
    before: float  #: The slope at its begin.
    after: float  #: The slope at its end.

    @property
    def ends(self) -> tuple[float, float]:
        """Begin and end."""
        return self.start, self.end

    @property
    def slopes(self) -> tuple[float, float]:
        """The slopes at both ends."""
        return self.before, self.after

    @property
    def curve(self) -> float:
        """1.0 where the slope rises, -1.0 where it falls, 0.0 where it stays."""
        return float(np.sign(self.after - self.before))


class Secants:
    """Mean slopes from the center of a box to its points.

    Args:
        function: The function.
        z: The center.
        rho: Half width of the box.
        ends: Its slopes at both ends of the box.
    """

    def __init__(self, function: Any, z: Tensor, rho: Tensor, ends: tuple[Tensor, Tensor]) -> None:
        self.function, self.xp, self.z, self.rho = function, function.arithmetic, z, rho
        self.here, self.slope = function.call(z), function.derivative(z)
        self.place = place_of(z, function.arithmetic)
        self.ends = dict(zip((-1.0, 1.0), ends, strict=True))
        self.there = {side: function.call(z + side * rho) for side in (-1.0, 1.0)}
        most = function.lipschitz
        self.noise = _VALUE * (1.0 + function.offset + most * (self.xp.abs(z) + rho))

    def largest(self, sign: float) -> Tensor:
        """An upper bound of `sign`, 1.0 or -1.0, times every mean slope."""
        xp, found = self.xp, [sign * self.slope]
        for side in (-1.0, 1.0):
            far = self._secant(sign, side, self.there[side], self.rho)
            found.append(xp.where(self.rho > 0.0, far, sign * self.slope))
            for piece in self.function.pieces:
                near, end = piece.ends[:: int(side)]
                bends_away = sign * side * piece.curve < 0.0
                # Where it bends the other way its ends count, which are those of the box and of others.
                if math.isfinite(near) and (bends_away or near in self.function.corners):
                    found.append(self._piece(sign, side, piece, near, end))
        return reduce(xp.maximum, found)

    def _secant(self, sign: float, side: float, value: Tensor, distance: Tensor) -> Tensor:
        """The mean slope to a value at a distance, rounded up."""
        grown = sign * side * (value - self.here) + self.noise
        return self.xp.divide(grown, distance)

    def _piece(self, sign: float, side: float, piece: "Piece", near: float, end: float) -> Tensor:
        """The largest mean slope to a piece between two distances, if the box reaches so far."""
        xp = self.xp
        distance = side * (near - self.z)
        reached = (distance > 0.0) & (distance < self.rho)
        if sign * side * piece.curve < 0.0:
            length = xp.minimum(self.rho, side * (end - self.z))
            line = tangents(self.function, piece, side).at(self.place, xp)
            most = self._under(sign, side, line, near, distance, length)
            if near in self.function.corners:
                # Right beside a corner the tangents of the table lie too far apart.
                slope = piece.slopes[:: int(side)][0]
                line = slope, self._value(near) - slope * near
                most = xp.minimum(most, self._under(sign, side, line, near, distance, length))
            if end not in self.function.corners:
                # The tangent at the end of the box is better where that comes first.
                slope = self.ends[side]
                line = slope, self.there[side] - slope * (self.z + side * self.rho)
                other = self._under(sign, side, line, near, distance, length)
                most = xp.where(self.rho <= length, xp.minimum(most, other), most)
        else:
            most = self._secant(sign, side, self._value(near), distance)
        return xp.where(reached, most, sign * self.slope)

    def _value(self, point: float) -> float:
        return float(self.function.to(float64).call(np.array([point]))[0])

    def _under(
        self, sign: float, side: float, line: Any, near: float, distance: Tensor, length: Tensor
    ) -> Tensor:
        """The largest mean slope to the part of a line from a near point up to a length."""
        slope, height = line
        first = self._secant(sign, side, slope * near + height, distance)
        last = self._secant(sign, side, slope * (self.z + side * length) + height, length)
        return self.xp.maximum(first, last)
