"""GroupSort: neighbouring channels in rising order."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from keraslip.activations.activation import Activation, Comparisons, Slopes
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class GroupSort(Activation):
    """Every group of neighbours along an axis, sorted in rising order.

    Sorting moves entries, and is 1-Lipschitz: of two vectors, the sorted ones are no further apart.

    Reference:

    - Anil, Lucas, Grosse, 2019, arXiv 1811.05381, section 4.1.
    """

    group: int = 2  #: How many neighbours make a group; it divides the size of the axis.
    axis: int = -1  #: The axis, batch axis included.
    roundings: ClassVar[float] = 0.0
    masks: ClassVar[bool] = False
    is_elementwise: ClassVar[bool] = False

    def call(self, z: Tensor) -> Tensor:
        xp, axis = self.arithmetic, self.axis % len(z.shape)
        shape = tuple(z.shape)
        if shape[axis] % self.group:
            raise ValueError(
                f"Groups of {self.group} do not divide the axis. Received: shape={shape}"
            )
        groups = (*shape[1:axis], shape[axis] // self.group, self.group, *shape[axis + 1 :])
        parts = xp.sort(xp.reshape(z, (-1, *groups)), axis + 1)
        return xp.reshape(parts, (-1, *shape[1:]))

    def slopes(self, z: Tensor, rho: Tensor, hard: bool) -> Slopes:
        # NaN varies, and stays NaN.
        one = self.arithmetic.ones_like(z) + 0.0 * (z + rho)
        return Slopes(one, one)

    def comparisons(self, shape: tuple[int, ...]) -> Comparisons:
        # The largest of the first ones goes to their end, then the next.
        ends = range(self.group - 1, 0, -1)
        pairs = tuple((k + 1, k) for end in ends for k in range(end))
        return Comparisons(self.plain(shape)["groups"], pairs)

    def plain(self, shape: tuple[int, ...]) -> dict[str, Any]:
        places = np.arange(np.prod(shape)).reshape(1, *shape)
        last = np.moveaxis(places, self.axis, -1)
        return {"kind": "sort", "groups": last.reshape(-1, self.group)}
