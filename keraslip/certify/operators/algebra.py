"""Compositions and sums of operators, folded into one kernel where that is exact."""

from functools import cached_property

import numpy as np

from keraslip.certify.norms import dense_norm
from keraslip.certify.norms.rounding import FLOAT64, TINY, gamma, inflation, raised, times, up
from keraslip.certify.operators.convolution import ConvOperator
from keraslip.certify.operators.dense import DenseOperator, DiagonalOperator
from keraslip.certify.operators.moving import MovingOperator
from keraslip.certify.operators.operator import Operator, operator_of, register_operator
from keraslip.linear import Composition, Sum

#: A chain or sum of operators is written out for its norm up to this many coefficients.
_WRITTEN_OUT = 2_000_000
#: Rounding of a kernel that was scaled or added in float64.
_FOLDED = 4 * FLOAT64


class _Written(Operator):
    """Base of chains and sums: small ones are written out as a matrix for a tight norm."""

    @cached_property
    def _rows(self) -> tuple[np.ndarray, float] | None:
        """The matrix `(outputs, inputs)` and an upper bound of its error's norm."""
        if self.inputs * self.outputs > _WRITTEN_OUT:
            return None
        basis = np.eye(self.outputs).reshape(self.outputs, *self.out_shape)
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self.adjoint(basis).reshape(self.outputs, self.inputs)
            magnitude = self.absolute.adjoint(basis)
            rounded = gamma(self.fan_out + 2, FLOAT64) * float(np.linalg.norm(magnitude))
        # TINY for what the weights of a block make vanish.
        error = rounded * inflation(magnitude.size) + self.vanished * self.outputs + TINY
        return rows, error

    def _from_parts(self) -> float:
        raise NotImplementedError

    def build_norm(self) -> float:
        bound = self._from_parts()
        if self._rows is None:
            return bound
        rows, error = self._rows
        return min(bound, dense_norm(rows) + error)

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        bound = super().local_norm(rows, columns)
        if self._rows is None:
            return bound
        matrix, error = self._rows
        block = matrix * rows.reshape(-1, 1) * columns.reshape(1, -1)
        return min(bound, (dense_norm(block) + error) * (1.0 + self.slack) * inflation())


class Chain(_Written):
    """`outer` after `inner`; use `compose`, which simplifies.

    Args:
        outer: The map applied last.
        inner: The map applied first.
    """

    def __init__(self, outer: Operator, inner: Operator) -> None:
        slack = (1.0 + outer.slack) * (1.0 + inner.slack) * inflation() - 1.0
        slack = slack if outer.slack or inner.slack else 0.0
        super().__init__(inner.in_shape, outer.out_shape, outer.terms + inner.terms, slack)
        self.outer, self.inner = outer, inner
        self.moves = outer.moves and inner.moves
        # Through a map that only moves entries, swells are not followed.
        swells = any(np.max(part.swell) > 1.0 for part in (outer, inner))
        self.staged = swells or outer.staged or inner.staged or not (outer.moves or inner.moves)
        self.costly = outer.costly or inner.costly
        self.reads_columns = (inner if outer.moves else outer).reads_columns and (
            outer.moves or inner.moves
        )

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return self.inner.adjoint(self.outer.adjoint(y))

    def build_absolute(self) -> Operator:
        return Chain(self.outer.absolute, self.inner.absolute)

    @cached_property
    def signless(self) -> Operator:
        if self.outer.moves or self.inner.moves:
            return Chain(self.outer.signless, self.inner.signless)
        return self.absolute

    @property
    def fan_out(self) -> int:
        return self.outer.fan_out + self.inner.fan_out

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

    def _from_parts(self) -> float:
        return float(times(self.outer.norm, self.inner.norm))

    @property
    def norm(self) -> float:
        if self.outer.moves or self.inner.moves:
            return self._from_parts()
        return self._own_norm

    @cached_property
    def _own_norm(self) -> float:
        return raised(self.build_norm() * (1.0 + self.slack) * inflation())

    @cached_property
    def absolute_norm(self) -> float:
        return float(up(times(self.outer.absolute_norm, self.inner.absolute_norm)))

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        if self.outer.moves:
            inner = self.inner.row_norms(columns)
            return self.outer.forward(np.broadcast_to(inner, (len(inner), *self.inner.out_shape)))
        if self.inner.moves:
            return self.outer.row_norms(None if columns is None else self.inner.forward(columns))
        return up(times(self.outer.row_norms(), self.inner.norm))

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        if self.outer.moves:
            return self.inner.local_norm(self.outer.adjoint(rows[None])[0], columns)
        if self.inner.moves:
            return self.outer.local_norm(rows, self.inner.forward(columns[None])[0])
        return super().local_norm(rows, columns)


class Total(_Written):
    """A sum of operators with one input and output shape; use `add`, which simplifies.

    Args:
        parts: The summands.
    """

    def __init__(self, parts: list[Operator]) -> None:
        terms = sum(max(part.terms, 1) for part in parts)
        first = parts[0]
        super().__init__(first.in_shape, first.out_shape, terms, max(p.slack for p in parts))
        self.parts = parts
        self.staged = True
        self.costly = any(part.costly for part in parts)
        self.reads_columns = any(part.reads_columns for part in parts)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return sum(part.forward(x) for part in self.parts)  # type: ignore[return-value]

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return sum(part.adjoint(y) for part in self.parts)  # type: ignore[return-value]

    def build_absolute(self) -> Operator:
        return Total([part.absolute for part in self.parts])

    @property
    def fan_out(self) -> int:
        return sum(part.fan_out + 1 for part in self.parts)

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

    def _from_parts(self) -> float:
        return float(sum(part.norm for part in self.parts))

    def build_norm(self) -> float:
        # The slack of a part is relative to that part, which cancellation in the sum can leave small.
        return super().build_norm() if self.slack == 0.0 else self._from_parts()

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        bound = sum(part.local_norm(rows, columns) for part in self.parts) * inflation()
        return min(bound, super().local_norm(rows, columns)) if self.slack == 0.0 else bound

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        return up(sum(part.row_norms(columns) for part in self.parts))  # type: ignore[arg-type]


def compose(outer: Operator, inner: Operator) -> Operator:
    """`outer` after `inner`, with the scale of each channel folded into the next kernel.

    Args:
        outer: The map applied last.
        inner: The map applied first.
    """
    if isinstance(inner, MovingOperator) and inner.plain and inner.in_shape == inner.out_shape:
        return outer
    if isinstance(outer, MovingOperator) and outer.plain and outer.in_shape == outer.out_shape:
        return inner
    if isinstance(inner, DiagonalOperator):
        folded = _with_scale(outer, inner)
        if folded is not None:
            folded.folded = True
            return folded
    return Chain(outer, inner)


def _with_scale(outer: Operator, inner: DiagonalOperator) -> Operator | None:
    """A map after a scale as one, if it can be written so."""
    slack = (1.0 + inner.slack) * (1.0 + outer.slack) * (1.0 + _FOLDED) - 1.0
    if isinstance(outer, DiagonalOperator):
        scale = _product(outer.scale, inner.scale)
        return None if scale is None else DiagonalOperator(scale, outer.in_shape, slack)
    if inner.channel_scale is None:
        return None
    if isinstance(outer, DenseOperator):
        kernel = _product(outer.kernel, inner.channel_scale[:, None])
        return None if kernel is None else DenseOperator(kernel, outer.in_shape, slack)
    if isinstance(outer, ConvOperator) and outer.geometry.groups == 1:
        kernel = _product(outer.kernel, inner.channel_scale[:, None])
        return None if kernel is None else outer.with_kernel(kernel, slack)
    return None


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """Products of coefficients, `None` if one is lost to underflow."""
    product = a * b
    lost = (np.abs(product) < TINY) & (a != 0.0) & (b != 0.0)
    return None if lost.any() else product


def simplified(operator: Operator) -> Operator:
    """A chain that a layer is made of, folded as `compose` folds: for norms, not for its own rounding."""
    if not isinstance(operator, Chain) or operator.outer.moves:
        return operator
    return compose(simplified(operator.outer), simplified(operator.inner))


def add(parts: list[Operator]) -> Operator:
    """A sum, with `x + conv(x)` folded into one convolution.

    Args:
        parts: The summands, of one input and one output shape.
    """
    convolutions = [part for part in parts if isinstance(part, ConvOperator)]
    plain = [part for part in parts if isinstance(part, MovingOperator) and part.plain]
    if len(convolutions) == 1 and len(plain) == len(parts) - 1:
        folded = _with_identity(convolutions[0], len(plain))
        if folded is not None:
            return folded
    return parts[0] if len(parts) == 1 else Total(parts)


def _with_identity(conv: ConvOperator, times: int) -> Operator | None:
    """`times * x + conv(x)` as a convolution, if its kernel has a tap on the pixel itself."""
    geometry = conv.geometry
    if geometry.strides != (1, 1) or geometry.groups != 1 or conv.in_shape != conv.out_shape:
        return None
    taps = [left / step for left, step in zip(conv.left, geometry.dilation, strict=True)]
    if any(tap != int(tap) for tap in taps) or conv.slack:
        return None
    kernel = conv.kernel.copy()
    kernel[int(taps[0]), int(taps[1])] += times * np.eye(kernel.shape[-1])
    # The sum's rounding is relative to the larger of both, so it is given to the whole kernel.
    return conv.with_kernel(kernel, 0.0) if _exact(kernel, conv.kernel, taps, times) else None


def _exact(kernel: np.ndarray, before: np.ndarray, taps: list[float], times: int) -> bool:
    """Whether adding the identity in float64 lost nothing; float32 weights are seldom too small."""
    tap = kernel[int(taps[0]), int(taps[1])] - times * np.eye(kernel.shape[-1])
    return bool((tap == before[int(taps[0]), int(taps[1])]).all())


@register_operator(Composition)
def _composition(linear_map: Composition) -> Operator:
    # Nothing is folded: the layer rounds what the inner map returns.
    outer, inner = operator_of(linear_map.outer), operator_of(linear_map.inner)
    return compose(outer, inner) if outer.moves or inner.moves else Chain(outer, inner)


@register_operator(Sum)
def _sum(linear_map: Sum) -> Operator:
    # Not folded: a layer that adds maps rounds each of them.
    return Total([operator_of(part) for part in linear_map.maps])
