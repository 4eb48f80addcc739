"""Activations made of straight pieces, with slopes of any size and sign."""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from keraslip.activations.activation import PAD, Activation, Slopes, clip_roundings
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class PiecewiseLinear(Activation):
    """A continuous function that is straight between its kinks, entry by entry.

    Args:
        kinks: Where its slope changes, in rising order; at least one.
        gradients: Its slope below the first kink, between kinks, and above the last one: numbers, or tensors
            that broadcast to `(1, *shape)` for a slope of every unit.
        at_zero: Its value at 0.

    Example:

    >>> leaky = PiecewiseLinear(kinks=(0.0,), gradients=(0.3, 1.0))
    >>> leaky.call(keras.ops.array([[-2.0, 5.0]]))
    array([[-0.6,  5. ]], dtype=float32)
    """

    kinks: tuple[float, ...]
    gradients: tuple[float | Tensor, ...]
    at_zero: float = 0.0

    def __post_init__(self) -> None:
        known = [gradient for gradient in self.gradients if _is_number(gradient)]
        numbers = (*self.kinks, *known, self.at_zero)
        if len(self.gradients) != len(self.kinks) + 1 or not all(map(math.isfinite, numbers)):
            raise ValueError(
                "A slope is needed on both sides of every kink, and all are finite numbers. "
                f"Received: kinks={self.kinks}, gradients={self.gradients}"
            )
        if not self.kinks or list(self.kinks) != sorted(set(self.kinks)):
            raise ValueError(f"kinks must rise. Received: kinks={self.kinks}")

    @property
    def roundings(self) -> float:  # type: ignore[override]
        """Slope, product, difference, and sums; none where numbers are only selected, as by hard tanh."""
        selects = self.at_zero == 0.0 and all(
            _is_number(gradient)
            and (gradient == 0.0 or (abs(gradient) == 1.0 and start <= 0.0 <= end))
            for gradient, start, end in self._pieces()
        )
        return 0.0 if selects and not clip_roundings(*self.kinks) else 8.0

    @property
    def lipschitz(self) -> Any:
        """The steepest slope."""
        if all(map(_is_number, self.gradients)):
            return max(map(abs, self.gradients))
        xp = self.arithmetic
        return reduce(
            xp.maximum, [abs(g) if _is_number(g) else xp.max(xp.abs(g)) for g in self.gradients]
        )

    def call(self, z: Tensor) -> Tensor:
        parts = []
        # From zero on, so that small outputs of small inputs keep all their digits.
        for gradient, start, end in self._pieces():
            if _is_zero(gradient):
                continue
            if end > 0.0:
                low = max(start, 0.0)
                parts.append(gradient * self._part(z - low if low else z, end - low))
            if start < 0.0:
                high = min(end, 0.0)
                parts.append(-gradient * self._part(high - z if high else -z, high - start))
        total = parts[0] if parts else self.arithmetic.zeros_like(z)
        for part in parts[1:]:
            total = total + part
        return total + self.at_zero if self.at_zero else total

    def _part(self, distance: Tensor, length: float) -> Tensor:
        """How much of a piece lies below a distance from its begin."""
        positive = self.arithmetic.relu(distance)
        return positive if length == math.inf else self.arithmetic.minimum(positive, length)

    def slopes(self, z: Tensor, rho: Tensor, hard: bool) -> Slopes:
        xp, nothing = self.arithmetic, self.arithmetic.zeros_like(z)
        low = reduce(xp.maximum, [nothing + gradient for gradient in self.gradients])
        high = reduce(xp.minimum, [nothing + gradient for gradient in self.gradients])
        for gradient, start, end in self._pieces():
            outside = (rho < start - z) | (rho < z - end)
            low = xp.where(outside, low, xp.minimum(low, gradient))
            high = xp.where(outside, high, xp.maximum(high, gradient))
        if hard:
            slopes = self.elementwise(low, high)
            return Slopes(slopes.rows, slopes.columns)
        secants = [one for side in (1.0, -1.0) for one in self._secants(z, rho, side)]
        least, most = reduce(xp.minimum, secants), reduce(xp.maximum, secants)
        room = (len(self.kinks) + 4.0) * PAD * self.lipschitz
        return self.elementwise(xp.maximum(low, least - room), xp.minimum(high, most + room))

    def _secants(self, z: Tensor, rho: Tensor, side: float) -> list[Tensor]:
        """Mean slopes from z on to one side: at once, up to each kink in the box, and up to its end.

        Between these the mean slope rises or falls all along.
        """
        xp = self.arithmetic
        found = [self._local(z, side), self._mean_slope(z, rho, side)]
        for kink in self.kinks:
            distance = side * (kink - z)
            inside = (distance > 0.0) & (distance < rho)
            found.append(self._mean_slope(z, xp.where(inside, distance, rho), side))
        return found

    def _local(self, z: Tensor, side: float) -> Tensor:
        """The slope right beside z."""
        xp = self.arithmetic
        slope = self.gradients[0] * xp.ones_like(z)
        for kink, gradient in zip(self.kinks, self.gradients[1:], strict=True):
            above = (z >= kink) if side > 0.0 else (z > kink)
            slope = xp.where(above, gradient * xp.ones_like(z), slope)
        # NaN is on no side of a kink.
        return slope + 0.0 * z

    def _mean_slope(self, z: Tensor, width: Tensor, side: float) -> Tensor:
        """The mean slope from z to a point so far away on one side."""
        xp, total = self.arithmetic, 0.0 * z
        for gradient, start, end in (piece for piece in self._pieces() if not _is_zero(piece[0])):
            ends = (start - z, end - z) if side > 0.0 else (z - end, z - start)
            shared = xp.minimum(width, ends[1]) - xp.relu(ends[0])
            total = total + gradient * xp.relu(shared)
        return xp.where(width > 0.0, xp.divide(total, width), self._local(z, side) + 0.0 * width)

    def support(
        self, c: Tensor, z: Tensor, rho: Tensor, slopes: Slopes
    ) -> tuple[Tensor, Tensor] | None:
        xp, found = self.arithmetic, super().support(c, z, rho, slopes)
        assert found is not None
        s, q = found
        convex, concave = c > 0.0, c < 0.0
        for kink, before, after in zip(
            self.kinks, self.gradients, self.gradients[1:], strict=False
        ):
            outside = (rho <= kink - z) | (rho <= z - kink)
            # A tangent supports from below what bends upwards all over the box, and from above the other.
            convex = convex & (outside | (after >= before))
            concave = concave & (outside | (after <= before))
        tangent = convex | concave
        return xp.where(tangent, self._local(z, 1.0), s), xp.where(tangent, xp.zeros_like(q), q)

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        xp = self.arithmetic
        points = [lower, upper]
        if not all(_is_number(gradient) and gradient >= 0.0 for gradient in self.gradients):
            points += [xp.minimum(xp.maximum(lower, kink), upper) for kink in self.kinks]
        outputs = [self.call(point) for point in points]
        return reduce(xp.minimum, outputs), reduce(xp.maximum, outputs)

    def plain(self, shape: tuple[int, ...]) -> dict[str, Any]:
        units = [np.broadcast_to(g, (1, *shape)).reshape(-1) for g in self.gradients]
        numbers = {"kinks": self.kinks, "gradients": np.stack(units), "at_zero": self.at_zero}
        return {"kind": "piecewise_linear", **numbers}

    def _pieces(self) -> list[tuple[Any, float, float]]:
        """Slope, begin and end of every piece."""
        ends = (-math.inf, *self.kinks, math.inf)
        return list(zip(self.gradients, ends, ends[1:], strict=False))


def _is_number(gradient: Any) -> bool:
    return isinstance(gradient, int | float)


def _is_zero(gradient: Any) -> bool:
    return _is_number(gradient) and gradient == 0.0
