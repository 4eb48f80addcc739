"""MaxMin on channel halves, clipped or not."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from keraslip.activations.activation import (
    PAD,
    Activation,
    Comparisons,
    Slopes,
    clip_roundings,
)
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class MaxMin(Activation):
    """`(min(max(p, q), upper), max(min(p, q), lower))` of the halves p, q along an axis.

    The pair is 1-Lipschitz, and so is each clip: an output that lies a beyond its clip moves by at most
    `1 - a / rho` of what its pair moves. Where the boxes of a pair do not overlap its order is certain: each
    output moves with its own input alone.

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4.2 and appendix (clipped MaxMin).
    """

    #: Clip of the maximum, broadcastable to half of `(1, *shape)`, or `None`.
    upper: Tensor | None = None
    lower: Tensor | None = None  #: Clip of the minimum, or `None`.
    axis: int = -1  #: The axis that is halved, batch axis included.
    is_elementwise: ClassVar[bool] = False

    @property
    def roundings(self) -> float:  # type: ignore[override]
        """None, but for clips that are no numbers of float32."""
        return clip_roundings(self.upper, self.lower)

    @property
    def masks(self) -> bool:
        """Whether a unit can be constant in a ball: whether there is anything to mask."""
        return self.upper is not None or self.lower is not None

    def call(self, z: Tensor) -> Tensor:
        xp = self.arithmetic
        p, q = xp.split(z, 2, self.axis)
        return self._clipped(xp.maximum(p, q), xp.minimum(p, q))

    def slopes(self, z: Tensor, rho: Tensor, hard: bool) -> Slopes:
        xp, (upper, lower) = self.arithmetic, self._clips()
        p, q, rho_p, rho_q, p_first, q_first = self._pairs(z, rho)
        reach = xp.maximum(rho_p, rho_q)
        reach_max = xp.where(p_first, rho_p, xp.where(q_first, rho_q, reach))
        reach_min = xp.where(p_first, rho_q, xp.where(q_first, rho_p, reach))
        high = self._weight(xp.maximum(p, q) - upper, reach_max, hard)
        low = self._weight(lower - xp.minimum(p, q), reach_min, hard)
        pair, certain = xp.maximum(high, low), p_first | q_first
        columns = [self._column(part, pair, certain) for part in (high, low)]
        return Slopes(self._rows(high, low, p_first, q_first), xp.concatenate(columns, self.axis))

    def kept(self, z: Tensor, rho: Tensor) -> Slopes:
        """Here an end of either box beyond a clip is enough, which hard slopes, as certified, do not ask."""
        xp, (upper, lower) = self.arithmetic, self._clips()
        p, q, rho_p, rho_q, p_first, q_first = self._pairs(z, rho)
        high = xp.indicator(~((rho_p <= p - upper) | (rho_q <= q - upper)), p)
        low = xp.indicator(~((rho_p <= lower - p) | (rho_q <= lower - q)), p)
        return Slopes(
            self._rows(high, low, p_first, q_first), xp.concatenate([high, low], self.axis)
        )

    def _pairs(self, z: Tensor, rho: Tensor) -> tuple[Tensor, ...]:
        """Halves p and q, half widths of their boxes, and where p, or q, is certainly the larger one."""
        p, q = self.arithmetic.split(z, 2, self.axis)
        rho_p, rho_q = self.arithmetic.split(rho, 2, self.axis)
        # A difference rounds relative to itself, which the inflation of the boxes covers.
        both = rho_p + rho_q
        return p, q, rho_p, rho_q, p - q >= both, q - p >= both

    def _rows(self, high: Tensor, low: Tensor, p_first: Tensor, q_first: Tensor) -> Tensor:
        """Each input has the weight of the output it becomes; if that is uncertain, the larger one."""
        xp, pair = self.arithmetic, self.arithmetic.maximum(high, low)
        rows_p = xp.where(p_first, high, xp.where(q_first, low, pair))
        rows_q = xp.where(p_first, low, xp.where(q_first, high, pair))
        return xp.concatenate([rows_p, rows_q], self.axis)

    def _weight(self, beyond: Tensor, reach: Tensor, hard: bool) -> Tensor:
        """What is left of a change of the pair by a clip that lies so far beyond."""
        xp = self.arithmetic
        away, one = xp.relu(beyond), xp.ones_like(reach)
        left = one
        if not hard:
            left = xp.minimum((1.0 - xp.divide(away, reach)) * (1.0 + PAD) + PAD, one)
        return xp.where((reach <= away) | (reach <= 0.0), xp.zeros_like(reach), left)

    def _column(self, part: Tensor, pair: Tensor, certain: Tensor) -> Tensor:
        """Outputs are `diag(part / pair) diag(pair) g`, or `diag(part) g` where the order is certain."""
        xp, one = self.arithmetic, self.arithmetic.ones_like(part)
        mixed = xp.where(pair == 0.0, xp.zeros_like(part), xp.divide(part, pair))
        mixed = xp.minimum(mixed * (1.0 + PAD), one)
        return xp.where(certain, xp.where(part > 0.0, one, part), mixed)

    def sparsity(self, lower: Tensor, upper: Tensor) -> Tensor:
        """`mean(relu(M - lower_max)) + mean(relu(upper_min - m))` with the clips M and m."""
        if self.upper is None or self.lower is None:
            return super().sparsity(lower, upper)
        xp = self.arithmetic
        (lp, lq), (up, uq) = xp.split(lower, 2, self.axis), xp.split(upper, 2, self.axis)
        return self.mean(xp.relu(self.upper - xp.maximum(lp, lq))) + self.mean(
            xp.relu(xp.minimum(up, uq) - self.lower)
        )

    def comparisons(self, shape: tuple[int, ...]) -> Comparisons:
        arrays = self.plain(shape)
        clips = {0: (arrays["upper"], True), 1: (arrays["lower"], False)}
        some = {k: clip for k, clip in clips.items() if not np.isinf(clip[0]).all()}
        return Comparisons(arrays["pairs"].T, ((0, 1),), some)

    def plain(self, shape: tuple[int, ...]) -> dict[str, Any]:
        places = np.arange(np.prod(shape)).reshape(1, *shape)
        first, second = np.split(places, 2, axis=self.axis)
        upper, lower = (np.broadcast_to(clip, first.shape).reshape(-1) for clip in self._clips())
        pairs = np.stack([first.reshape(-1), second.reshape(-1)])
        return {"kind": "maxmin", "pairs": pairs, "upper": upper, "lower": lower}

    def _clips(self) -> tuple[Tensor, Tensor]:
        return (
            np.inf if self.upper is None else self.upper,
            -np.inf if self.lower is None else self.lower,
        )

    def _clipped(self, largest: Tensor, smallest: Tensor) -> Tensor:
        if self.upper is not None:
            largest = self.arithmetic.minimum(largest, self.upper)
        if self.lower is not None:
            smallest = self.arithmetic.maximum(smallest, self.lower)
        return self.arithmetic.concatenate([largest, smallest], self.axis)
