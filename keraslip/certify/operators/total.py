"""Sums of proved maps."""

from functools import partial, reduce
from typing import Any

import numpy as np

from keraslip.arithmetic import float64
from keraslip.certify.norms import sparse_norm
from keraslip.certify.norms.rounding import INFLATION, UNIT64, gamma, inflation, up
from keraslip.certify.operators.matrices import PROVED, roundings_of, rows_of, sum_of
from keraslip.certify.operators.proved import Proved
from keraslip.certify.operators.upwards import Upwards
from keraslip.linear import Stack, Sum
from keraslip.linear.magnitudes import hypotenuse
from keraslip.lockless import cached_property
from keraslip.typing import Tensor


class Total(Proved):
    """A sum of maps with one input and output shape; use `add`, which simplifies."""

    staged = True

    def __init__(self, parts: list[Proved]) -> None:
        maps = tuple(part.map for part in parts)
        super().__init__(Sum(maps, arithmetic=maps[0].arithmetic), max(p.slack for p in parts))
        self.parts = parts
        self.reads_columns = any(part.reads_columns for part in parts)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return sum(part.forward(x) for part in self.parts)  # type: ignore[return-value]

    @cached_property
    def absolute(self) -> Proved:
        return Total([part.absolute for part in self.parts])

    @property
    def signless(self) -> Proved:
        # What cancels in the sum does not in that of magnitudes.
        return self.absolute

    @cached_property
    def terms(self) -> int:
        return sum(max(part.terms, 1) for part in self.parts)

    @cached_property
    def fan_out(self) -> int:
        return sum(part.fan_out + 1 for part in self.parts)

    swell = 1.0

    @cached_property
    def flushes(self) -> np.ndarray:
        return sum(part.flushes + 2.0 for part in self.parts)  # type: ignore[return-value]

    @cached_property
    def row_sums(self) -> np.ndarray:
        return up(sum(part.row_sums for part in self.parts))  # type: ignore[arg-type]

    @cached_property
    def vanished(self) -> float:
        return sum(part.vanished for part in self.parts)

    def vanishing(self, smallest: float) -> np.ndarray | None:
        found = [part.vanishing(smallest) for part in self.parts]
        known = [each for each in found if each is not None]
        return sum(known) if known else None  # type: ignore[return-value]

    @cached_property
    def growth(self) -> float:
        return sum(part.growth for part in self.parts)

    @cached_property
    def greatest(self) -> float:
        return max(part.greatest for part in self.parts)

    def simple_norm(self) -> float:
        return float(sum(part.norm for part in self.parts))

    @cached_property
    def product(self) -> Any:
        """All as one sparse matrix, but for `_rounded` of their magnitudes; `None` where that is large."""
        return sum_of(self.parts)

    @cached_property
    def product_roundings(self) -> int:
        """How often a coefficient of `product` was rounded, at most."""
        return max(map(roundings_of, self.parts)) + len(self.parts)

    @property
    def _rounded(self) -> float:
        # The slack of a part is relative to that part, which cancellation in the sum can leave small.
        return gamma(self.product_roundings + 4, UNIT64) + self.slack

    def build_norm(self) -> float:
        bound = super().build_norm() if self.slack == 0.0 else self.simple_norm()
        small = self.slack == 0.0 and self.written is not None
        if not small and self.product is not None and self.product.nnz <= PROVED:
            error = self._rounded * sum(part.absolute_norm for part in self.parts) * INFLATION
            bound = min(bound, (sparse_norm(self.product, tight=True) + error) * INFLATION)
        return bound

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        bound = sum(part.local_norm(rows, columns) for part in self.parts) * inflation()
        return min(bound, super().local_norm(rows, columns)) if self.slack == 0.0 else bound

    def whole_rows(self) -> np.ndarray:
        bound = up(sum(part.row_norms() for part in self.parts))  # type: ignore[arg-type]
        if self.product is None:
            return bound
        rows = rows_of(self.product).reshape(1, *self.out_shape)
        error = sum(part.absolute.row_norms() for part in self.parts)
        return np.minimum(bound, up(rows + self._rounded * up(np.asarray(error)), self.inputs))

    def weighed_rows(self, upwards: Upwards, columns: Tensor) -> Tensor:
        norms = [part.row_norms_in(upwards, columns) for part in self.parts]
        whole = self.row_norms_in(upwards, None)
        return upwards.arithmetic.minimum(upwards.up(sum(norms[1:], norms[0])), whole)


class Stacked(Total):
    """A sum of maps onto disjoint entries; use `stack`."""

    def __init__(self, parts: list[Proved]) -> None:
        super().__init__(parts)
        maps = tuple(part.map for part in parts)
        self.map = Stack(maps, arithmetic=maps[0].arithmetic)

    def simple_norm(self) -> float:
        return self._length([part.norm for part in self.parts])

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        apart = self._length([part.local_norm(rows, columns) for part in self.parts])
        return min(apart, super().local_norm(rows, columns))

    @staticmethod
    def _length(norms: list[float]) -> float:
        return float(
            up(reduce(partial(hypotenuse, float64), map(np.asarray, norms)), 4 * len(norms))
        )
