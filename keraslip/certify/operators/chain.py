"""One proved map after another."""

from typing import Any

import numpy as np

from keraslip.certify.norms import sparse_norm
from keraslip.certify.norms.rounding import INFLATION, TINY, UNIT64, gamma, raised, times, up
from keraslip.certify.operators.matrices import (
    PROVED,
    longest_row,
    product_of,
    roundings_of,
    rows_of,
)
from keraslip.certify.operators.proved import Proved
from keraslip.certify.operators.upwards import Upwards
from keraslip.linear import Composition
from keraslip.lockless import cached_property
from keraslip.typing import Tensor


class Chain(Proved):
    """`outer` after `inner`; use `compose`, which simplifies."""

    def __init__(self, outer: Proved, inner: Proved) -> None:
        slack = (1.0 + outer.slack) * (1.0 + inner.slack) * INFLATION - 1.0
        slack = slack if outer.slack or inner.slack else 0.0
        super().__init__(Composition(outer.map, inner.map, arithmetic=outer.map.arithmetic), slack)
        self.outer, self.inner = outer, inner
        self.folded = outer.folded or inner.folded
        # Of two matrices the slack is that of their coefficients, which products add up.
        self.loose = 0.0 if outer.moves or inner.moves else slack
        self.reads_columns = (inner if outer.copies else outer).reads_columns and (
            outer.copies or inner.moves
        )

    @cached_property
    def staged(self) -> bool:
        # Through a map that only moves entries, swells are not followed.
        outer, inner = self.outer, self.inner
        swells = any(np.max(part.swell) > 1.0 for part in (outer, inner))
        return swells or outer.staged or inner.staged or not (outer.moves or inner.moves)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.outer.forward(self.inner.forward(x))

    @cached_property
    def absolute(self) -> Proved:
        return Chain(self.outer.absolute, self.inner.absolute)

    @cached_property
    def signless(self) -> Proved:
        if self.outer.moves or self.inner.moves:
            return Chain(self.outer.signless, self.inner.signless)
        return self.absolute

    # Each of two maps rounds by itself.

    @cached_property
    def terms(self) -> int:
        return self.outer.terms + self.inner.terms

    @cached_property
    def fan_out(self) -> int:
        return self.outer.fan_out + self.inner.fan_out

    swell = 1.0

    @cached_property
    def flushes(self) -> np.ndarray:
        return self.outer.absolute.forward(self.inner.flushes) + self.outer.flushes

    @cached_property
    def row_sums(self) -> np.ndarray:
        outer, inner = self.outer.absolute, self.inner.row_sums
        some = outer.forward((inner > 0.0).astype("float64")) > 0.0
        sums = up(outer.forward(inner), outer.terms)
        return np.where(some, np.maximum(sums, TINY), 0.0)

    @cached_property
    def vanished(self) -> float:
        return self.inner.norm * self.outer.vanished + self.inner.vanished

    def vanishing(self, smallest: float) -> np.ndarray | None:
        outer, inner = (part.vanishing(smallest) for part in (self.outer, self.inner))
        parts = [] if outer is None else [up(outer * self.inner.row_sums.max())]
        if inner is not None:
            parts.append(up(self.outer.absolute.forward(inner), self.outer.terms))
        return sum(parts) if parts else None  # type: ignore[return-value]

    @cached_property
    def growth(self) -> float:
        return max(self.inner.growth, float(up(self.outer.growth * self.inner.row_sums.max())))

    @cached_property
    def greatest(self) -> float:
        return max(self.outer.greatest, self.inner.greatest)

    def simple_norm(self) -> float:
        return float(times(self.outer.norm, self.inner.norm))

    @cached_property
    def product(self) -> Any:
        """Both as one sparse matrix, but for `_rounded` of |outer| |inner|; `None` where that is large."""
        return product_of(self.outer, self.inner)

    @cached_property
    def product_roundings(self) -> int:
        """How often a coefficient of `product` was rounded, at most."""
        parts = roundings_of(self.outer) + roundings_of(self.inner)
        return parts + longest_row(self.outer)

    @property
    def _rounded(self) -> float:
        return gamma(self.product_roundings + 4, UNIT64) + self.loose

    def build_norm(self) -> float:
        bound = super().build_norm()
        if self.written is None and self.product is not None and self.product.nnz <= PROVED:
            error = self._rounded * self.absolute_norm * INFLATION
            bound = min(bound, (sparse_norm(self.product, tight=True) + error) * INFLATION)
        return bound

    @cached_property
    def norm(self) -> float:
        if self.outer.moves or self.inner.moves:
            return self.simple_norm()
        return raised(self.build_norm() * (1.0 + self.slack) * INFLATION)

    @cached_property
    def absolute_norm(self) -> float:
        return float(up(times(self.outer.absolute_norm, self.inner.absolute_norm)))

    def whole_rows(self) -> np.ndarray:
        if self.outer.copies:
            inner = self.inner.row_norms()
            return self.outer.forward(np.broadcast_to(inner, (1, *self.inner.out_shape)))
        if self.inner.moves:
            return self.outer.row_norms()
        bound = up(times(self.outer.row_norms(), self.inner.norm))
        if self.product is None:
            return bound
        rows = rows_of(self.product).reshape(1, *self.out_shape)
        error = times(self.outer.absolute.row_norms(), self.inner.absolute_norm)
        return np.minimum(bound, up(rows + self._rounded * up(error), self.inputs))

    def weighed_rows(self, upwards: Upwards, columns: Tensor) -> Tensor:
        if self.inner.moves and not self.outer.copies:
            moved = upwards.map(self.inner.map).forward(columns)
            return self.outer.row_norms_in(upwards, moved)
        norms, shape = self.inner.row_norms_in(upwards, columns), self.inner.out_shape
        if tuple(norms.shape[1:]) != shape:
            norms = norms * upwards.arithmetic.ones((1, *shape))
        return upwards.map(self.outer.map).forward(norms)

    @property
    def price(self) -> float:
        if self.outer.moves or self.inner.moves:
            return max(self.outer.price, self.inner.price)
        return super().price

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        if self.outer.moves:
            return self.inner.local_norm(self.outer.adjoint(rows[None])[0], columns)
        if self.inner.moves:
            return self.outer.local_norm(rows, self.inner.forward(columns[None])[0])
        return super().local_norm(rows, columns)
