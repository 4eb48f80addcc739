"""The largest number of every group: the nonlinear part of max pooling."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from keraslip.activations.activation import Activation, Comparisons, Slopes
from keraslip.typing import Tensor

#: Below what float32 can hold, and finite: converters of graphs write `where` as products.
_LOWEST = -3.4e38


@dataclass(frozen=True, eq=False)
class Largest(Activation):
    """The largest entry along the last axis in the first place, zeros in the others.

    `|max(z') - max(z)| <= max |z'_k - z_k|` over the entries k that are the largest one somewhere in the box.
    """

    sign: float = 1.0  #: -1 for the smallest entry in place of the largest.
    #: 1 for the entries that count, 0 for those to leave out, broadcastable to `(1, *shape)`; all of them if
    #: `None`.
    there: Tensor | None = None
    roundings: ClassVar[float] = 0.0
    is_elementwise: ClassVar[bool] = False

    def call(self, z: Tensor) -> Tensor:
        return self._first(
            self.sign * self.arithmetic.max(self._seen(z), axis=-1, keepdims=True), z
        )

    def slopes(self, z: Tensor, rho: Tensor, hard: bool) -> Slopes:
        xp, z_ = self.arithmetic, self._seen(z)
        most = xp.max(z_, axis=-1, keepdims=True)
        # Half width of the box of the largest one; of several the narrowest.
        wide = xp.max(
            xp.where(z_ == most, -rho, -xp.max(rho, axis=-1, keepdims=True)), axis=-1, keepdims=True
        )
        # A difference rounds relative to itself, which the inflation of the boxes covers.
        beaten = (most - z_ > rho - wide) & ~(z_ == most)
        rows = xp.indicator(~beaten, z)
        if self.there is not None:
            rows = rows * self.there
        moved = xp.sum(rows * rho, axis=-1, keepdims=True)
        columns = self._first(xp.indicator(~(moved <= 0.0), z), z)
        # NaN is not taken for an output that cannot move.
        return Slopes(rows, columns + 0.0 * (z + rho))

    def comparisons(self, shape: tuple[int, ...]) -> Comparisons:
        groups = np.arange(np.prod(shape)).reshape(-1, shape[-1])
        steps = [2**k for k in range((shape[-1] - 1).bit_length())]
        pairs = [(k, k + step) for step in steps for k in range(0, shape[-1] - step, 2 * step)]
        if self.sign < 0.0:
            pairs = [(j, i) for i, j in pairs]
        return Comparisons(groups, tuple(pairs), kept=(0,), there=self._counting(shape))

    def _counting(self, shape: tuple[int, ...]) -> np.ndarray | None:
        """Which entries count, a row for every group; `None` for all."""
        if self.there is None:
            return None
        there = np.broadcast_to(np.asarray(self.there), (1, *shape))
        return np.asarray(there > 0.0).reshape(-1, shape[-1])

    def plain(self, shape: tuple[int, ...]) -> dict[str, Any]:
        groups = np.arange(np.prod(shape)).reshape(-1, shape[-1])
        places, there = groups[:, 0], self._counting(shape)
        if there is not None:
            some = np.take_along_axis(groups, there.argmax(axis=1)[:, None], axis=1)
            groups = np.where(there, groups, some)
        return {"kind": "largest", "groups": groups, "places": places, "sign": self.sign}

    def _seen(self, z: Tensor) -> Tensor:
        z = self.sign * z
        return z if self.there is None else self.arithmetic.where(self.there > 0.0, z, _LOWEST)

    def _first(self, one: Tensor, z: Tensor) -> Tensor:
        """Something in the first place, zeros in the others."""
        one = one[..., :1]
        return self.arithmetic.concatenate([one, self.arithmetic.zeros_like(z[..., 1:])], -1)
