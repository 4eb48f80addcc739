"""Elementwise functions that bend one way between a few points, such as tanh and GELU: slopes and ranges."""

import math
from abc import abstractmethod
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from keraslip.activations.activation import Activation, Slopes
from keraslip.activations.secants import Piece, Secants
from keraslip.arithmetic import float64
from keraslip.lockless import cached_property
from keraslip.typing import Tensor

#: More than float64 loses where a slope is computed, in units of the steepest slope.
_SLOPE = 1e-12
#: Entries that NumPy works on at once: some thirty arrays of them stay in the processor's cache.
_BLOCK = 2**15


@dataclass(frozen=True, eq=False)
class Smooth(Activation):
    """A function between whose `bends` the slope only rises, or only falls.

    That is all that its slopes are found from. Over a box the slope is largest and smallest at an end or at
    a bend. So are mean slopes from the center where the function bends one way; where it bends the other way,
    any of its tangents lies on the safe side of it, and the one that meets the graph at the center is best.

    Subclasses override `call` and `derivative` and state what follows; their fields are numbers.

    Reference:

    - docs/proofs.md, "Functions that bend".
    """

    #: tanh, exp and erf of three backends, compiled or not, err by less than 5; see
    #: tests/activations/test_rounding.py.
    roundings: ClassVar[float] = 24.0
    #: Where the slope turns from rising to falling or back, or jumps; in rising order.
    bends: ClassVar[Any] = ()
    #: The slope far below and far above.
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)
    #: Where the function turns from falling to rising or back.
    turns: ClassVar[tuple[float, ...]] = ()

    @abstractmethod
    def derivative(self, z: Tensor) -> Tensor:
        """The slope at z, of either side where it jumps."""

    @property
    def corners(self) -> dict[float, tuple[float, float]]:
        """The slopes below and above a bend where the slope jumps."""
        return {}

    @cached_property
    def pieces(self) -> tuple["Piece", ...]:
        """What lies between bends."""
        exact, slopes = self.to(float64), [self.limits[0]]
        for bend in self.bends:
            at_bend = float(exact.derivative(np.array([bend]))[0])
            slopes += self.corners.get(bend, (at_bend, at_bend))
        slopes.append(self.limits[1])
        ends = (-math.inf, *self.bends, math.inf)
        return tuple(
            Piece(start, end, before, after)
            for start, end, before, after in zip(
                ends, ends[1:], slopes[::2], slopes[1::2], strict=False
            )
        )

    @cached_property
    def least(self) -> float:
        """What no slope is below."""
        return min(slope for piece in self.pieces for slope in piece.slopes) - _SLOPE

    @cached_property
    def most(self) -> float:
        """What no slope is above."""
        return max(slope for piece in self.pieces for slope in piece.slopes) + _SLOPE

    @property
    def lipschitz(self) -> float:
        """The steepest slope."""
        return max(abs(self.least), abs(self.most))

    def slopes(self, z: Tensor, rho: Tensor, hard: bool) -> Slopes:
        if self.arithmetic is not float64 or z.size <= _BLOCK:
            return self._slopes(z, rho, hard)
        center, reach = (part.reshape(-1) for part in np.broadcast_arrays(z, rho))
        blocks = [slice(i, i + _BLOCK) for i in range(0, z.size, _BLOCK)]
        found = [self._slopes(center[block], reach[block], hard) for block in blocks]
        parts = zip(*(vars(one).values() for one in found), strict=True)
        return Slopes(
            *(None if part[0] is None else np.concatenate(part).reshape(z.shape) for part in parts)
        )

    def _slopes(self, z: Tensor, rho: Tensor, hard: bool) -> Slopes:
        xp = self.arithmetic
        lower, upper = self.derivative(z - rho), self.derivative(z + rho)
        found = [lower, upper]
        for bend, piece, after in zip(self.bends, self.pieces, self.pieces[1:], strict=False):
            inside = (rho >= bend - z) & (rho >= z - bend)
            sides = {piece.slopes[1], after.slopes[0]}
            found += [xp.where(inside, slope * xp.ones_like(z), lower) for slope in sides]
        room = _SLOPE * self.lipschitz
        low, high = reduce(xp.minimum, found) - room, reduce(xp.maximum, found) + room
        if not hard:
            secants = Secants(self, z, rho, (lower, upper))
            low = xp.maximum(low, -secants.largest(-1.0) - room)
            high = xp.minimum(high, secants.largest(1.0) + room)
        # Comparisons with NaN are false: what is not known is the steepest slope.
        low = xp.where(low >= self.least, low, self.least * xp.ones_like(z))
        high = xp.where(high <= self.most, high, self.most * xp.ones_like(z))
        slopes = self.elementwise(low, high)
        return Slopes(slopes.rows, slopes.columns) if hard else slopes

    def support(
        self, c: Tensor, z: Tensor, rho: Tensor, slopes: Slopes
    ) -> tuple[Tensor, Tensor] | None:
        xp, found = self.arithmetic, super().support(c, z, rho, slopes)
        assert found is not None
        s, q = found
        convex, concave = c > 0.0, c < 0.0
        for piece in self.pieces:
            outside = (rho <= piece.start - z) | (rho <= z - piece.end)
            convex = convex & (outside | (piece.curve >= 0.0))
            concave = concave & (outside | (piece.curve <= 0.0))
        for bend, (before, after) in self.corners.items():
            outside = (rho <= bend - z) | (rho <= z - bend)
            convex = convex & (outside | (after >= before))
            concave = concave & (outside | (after <= before))
        # A tangent supports what bends one way all over the box; its slope has rounded.
        tangent, room = convex | concave, _SLOPE * self.lipschitz * xp.ones_like(q)
        return xp.where(tangent, self.derivative(z), s), xp.where(tangent, room, q)

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        xp = self.arithmetic
        points = [xp.minimum(xp.maximum(lower, turn), upper) for turn in self.turns]
        outputs = [self.call(point) for point in (lower, upper, *points)]
        return reduce(xp.minimum, outputs), reduce(xp.maximum, outputs)

    def plain(self, shape: tuple[int, ...]) -> dict[str, Any] | None:
        if not type(self).__module__.startswith("keraslip."):
            return None
        known = {"roundings": self.roundings, "offset": self.offset, "most": self.lipschitz}
        return {"kind": "smooth", "name": type(self).__name__, **known, **self.numbers}

    @property
    def numbers(self) -> dict[str, float]:
        """The fields, which are numbers."""
        names = [one.name for one in fields(self) if one.name != "arithmetic"]
        return {name: float(getattr(self, name)) for name in names}
