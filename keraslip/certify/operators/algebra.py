"""Compositions and sums of proved maps, folded into one kernel where that is exact."""

from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np

from keraslip.arithmetic import float64
from keraslip.certify.norms import sparse_norm
from keraslip.certify.norms.rounding import (
    INFLATION,
    TINY,
    UNIT64,
    gamma,
    inflation,
    raised,
    times,
    up,
)
from keraslip.certify.operators import fixed, kernels
from keraslip.certify.operators.matrices import PROVED, product_of
from keraslip.certify.operators.proved import Proved, Tensor, coefficients, prove, register_operator
from keraslip.certify.operators.upwards import Upwards
from keraslip.linear import (
    Composition,
    ConvMap,
    DiagonalMap,
    ExactScaleMap,
    Identity,
    LinearMap,
    ReshapeMap,
    Stack,
    Sum,
    folded,
)
from keraslip.linear.algebra import into
from keraslip.linear.magnitudes import hypotenuse
from keraslip.lockless import cached_property

_ = fixed, kernels  # they register what the maps of keraslip.linear add
#: Rounding of a kernel that was scaled or added in float64.
_FOLDED = 4 * UNIT64


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

    @property
    def _rounded(self) -> float:
        return gamma(self.terms + 4, UNIT64) + self.loose

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
        rows = np.sqrt(self.product.multiply(self.product).sum(axis=1))
        rows = np.asarray(rows).reshape(1, *self.out_shape)
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

    def build_norm(self) -> float:
        # The slack of a part is relative to that part, which cancellation in the sum can leave small.
        return super().build_norm() if self.slack == 0.0 else self.simple_norm()

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        bound = sum(part.local_norm(rows, columns) for part in self.parts) * inflation()
        return min(bound, super().local_norm(rows, columns)) if self.slack == 0.0 else bound

    def whole_rows(self) -> np.ndarray:
        return up(sum(part.row_norms() for part in self.parts))  # type: ignore[arg-type]

    def weighed_rows(self, upwards: Upwards, columns: Tensor) -> Tensor:
        norms = [part.row_norms_in(upwards, columns) for part in self.parts]
        return upwards.up(sum(norms[1:], norms[0]))


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


def compose(outer: Proved, inner: Proved) -> Proved:
    """`outer` after `inner`, with the scale of each channel folded into the kernel next to it."""
    if _changes_nothing(inner):
        return outer
    if _changes_nothing(outer):
        return inner
    for scale, part, behind in ((inner, outer, False), (outer, inner, True)):
        if isinstance(scale.map, DiagonalMap):
            one = into(part, scale.map.scale, behind, partial(_fold, scale, behind), Chain)
            return Chain(outer, inner) if one is None else one
    return Chain(outer, inner)


def _fold(scale: Proved, behind: bool, part: Proved, numbers: np.ndarray) -> Proved | None:
    """A scale before or behind a part, in its coefficients; `None` where they cannot take it.

    Args:
        scale: As it was given.
        behind: Whether it comes after the part.
        part: No composition.
        numbers: The scale as the part sees it.
    """
    shape = part.out_shape if behind else part.in_shape
    moved = DiagonalMap(numbers, shape, arithmetic=float64)
    pair = (moved, part.map) if behind else (part.map, moved)
    one = folded(*pair)
    if one is None or _lost(one, *pair):
        return None
    rounded = 0.0 if _is_exact(scale.map) or _is_exact(part.map) else _FOLDED
    made = type(part)(one, (1.0 + part.slack) * (1.0 + scale.slack) * (1.0 + rounded) - 1.0)
    made.folded = True
    return made


def _is_exact(linear_map: LinearMap) -> bool:
    """Whether a product with a scale rounds nothing: seen from its numbers, not from what it says."""
    if not isinstance(linear_map, ExactScaleMap):
        return False
    return bool((np.abs(np.frexp(linear_map.scale)[0]) == 0.5).all())


def _changes_nothing(operator: Proved) -> bool:
    plain = isinstance(operator.map, Identity | ReshapeMap)
    return plain and operator.in_shape == operator.out_shape


def _lost(one: LinearMap, outer: LinearMap, inner: LinearMap) -> bool:
    """Whether a product of coefficients is lost to underflow."""
    ones = folded(*(part.each(lambda x: (x != 0.0).astype("float64")) for part in (outer, inner)))
    assert ones is not None
    pairs = zip(coefficients(one), coefficients(ones), strict=True)
    return any(bool(((np.abs(a) < TINY) & (wanted != 0.0)).any()) for a, wanted in pairs)


def simplified(operator: Proved) -> Proved:
    """A chain that a layer is made of, folded as `compose` folds: for norms, not for its own rounding."""
    if not isinstance(operator, Chain) or operator.outer.moves:
        return operator
    return compose(simplified(operator.outer), simplified(operator.inner))


def add(parts: list[Proved]) -> Proved:
    """A sum, with `x + conv(x)` folded into one convolution."""
    convolutions = [part for part in parts if isinstance(part, kernels.ProvedConv)]
    plain = [part for part in parts if isinstance(part.map, Identity | ReshapeMap)]
    if len(convolutions) == 1 and len(plain) == len(parts) - 1:
        one = _with_identity(convolutions[0], len(plain))
        if one is not None:
            return one
    return parts[0] if len(parts) == 1 else Total(parts)


def stack(parts: list[Proved]) -> Proved:
    """A sum of maps onto disjoint entries.

    Args:
        parts: The summands, of one input and one output shape.
    """
    return parts[0] if len(parts) == 1 else Stacked(parts)


def _with_identity(conv: Proved, times: int) -> Proved | None:
    """`times * x + conv(x)` as a convolution, if its kernel has a tap on the pixel itself."""
    assert isinstance(conv.map, ConvMap)
    geometry = conv.map.geometry
    if geometry.strides != (1, 1) or geometry.groups != 1 or conv.in_shape != conv.out_shape:
        return None
    taps = [left / step for left, step in zip(conv.map.left, geometry.dilation, strict=True)]
    if any(tap != int(tap) for tap in taps) or conv.slack:
        return None
    place, kernel = (int(taps[0]), int(taps[1])), conv.map.kernel.copy()
    unit = times * np.eye(kernel.shape[-1])
    kernel[place] += unit
    # Only where adding the identity in float64 lost nothing; float32 weights are seldom too small.
    if not (kernel[place] - unit == conv.map.kernel[place]).all():
        return None
    return kernels.ProvedConv(replace(conv.map, kernel=kernel), 0.0)


@register_operator(Composition)
def _composition(linear_map: Composition) -> Proved:
    # Nothing is folded: the layer rounds what the inner map returns.
    outer, inner = prove(linear_map.outer), prove(linear_map.inner)
    return compose(outer, inner) if outer.moves or inner.moves else Chain(outer, inner)


@register_operator(Sum)
def _sum(linear_map: Sum) -> Proved:
    # Not folded: a layer that adds maps rounds each of them.
    return Total([prove(part) for part in linear_map.maps])
