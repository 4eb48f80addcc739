"""Compositions and sums of proved maps, folded into one kernel where that is exact."""

from dataclasses import replace
from functools import partial

import numpy as np

from keraslip.arithmetic import float64
from keraslip.certify.norms.rounding import TINY, UNIT64
from keraslip.certify.operators import fixed, kernels
from keraslip.certify.operators.chain import Chain
from keraslip.certify.operators.proved import Proved, prove, register_operator
from keraslip.certify.operators.rounded import coefficients
from keraslip.certify.operators.total import Stacked, Total
from keraslip.linear import (
    Composition,
    ConvMap,
    DiagonalMap,
    ExactScaleMap,
    Identity,
    LinearMap,
    ReshapeMap,
    Sum,
    folded,
)
from keraslip.linear.algebra import into

_ = fixed, kernels  # they register what the maps of keraslip.linear add
#: Rounding of a kernel that was scaled or added in float64.
_FOLDED = 4 * UNIT64


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
    """A scale before or `behind` a part, in its coefficients; `None` where they cannot take it.

    The part is no composition; the scale is as it was given, `numbers` as the part sees it.
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
    """A sum of maps of one input and one output shape onto disjoint entries."""
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
