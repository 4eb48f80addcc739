"""A linear map and what a proof adds to it: rigorous norms, and how its sums round."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keraslip.certify.norms import dense_norm
from keraslip.certify.norms.rounding import (
    INFLATION,
    TINY,
    UNIT64,
    gamma,
    inflation,
    l2,
    mixed_bound,
    raised,
    times,
    up,
)
from keraslip.certify.operators.rounded import Rounded
from keraslip.certify.operators.upwards import NUMPY, Upwards
from keraslip.linear import LinearMap
from keraslip.lockless import cached_property
from keraslip.typing import Tensor

#: A map is written out for its norm up to this many coefficients.
WRITTEN_OUT = 2_000_000


class Proved(Rounded):
    """A linear map in float64, without its bias, and what a proof adds to it.

    This class does for any map; those of `keraslip.linear` have subclasses with tighter norms.
    """

    #: Whether `row_norms` takes its weights into account.
    reads_columns = False

    @property
    def costly(self) -> bool:
        """Whether a local norm takes long."""
        return self.map.convolves

    @property
    def price(self) -> float:
        """Multiplications of the proof of a local norm, about, or more: those that are left out cost none."""
        size = self.inputs * self.outputs
        return float(size * min(self.inputs, self.outputs)) if size <= WRITTEN_OUT else 0.0

    @property
    def signless(self) -> "Proved":
        """A map whose row norms bound those of |W|."""
        return self

    @cached_property
    def norm(self) -> float:
        """A proved upper bound of the spectral norm, found once."""
        return raised(self.build_norm() * (1.0 + self.slack) * INFLATION)

    def build_norm(self) -> float:
        """A proved upper bound of the spectral norm of these coefficients."""
        bound = self.simple_norm()
        if self.written is None:
            return bound
        rows, error = self.written
        return min(bound, dense_norm(rows) + error)

    def simple_norm(self) -> float:
        """A bound that needs no matrix: `sqrt(|W|_1 |W|_inf)`."""
        from_one = self.absolute.adjoint(np.ones((1, *self.out_shape))).max()
        terms = max(self.terms, self.fan_out)
        return mixed_bound(float(from_one), float(self.row_sums.max()), terms)

    @cached_property
    def absolute_norm(self) -> float:
        """An upper bound of the norm of |W|, cheap where that is tight enough."""
        return self.absolute.norm

    @cached_property
    def written(self) -> tuple[np.ndarray, float] | None:
        """The matrix `(outputs, inputs)` and an upper bound of its error's norm; `None` for a large one."""
        if self.inputs * self.outputs > WRITTEN_OUT:
            return None
        basis = np.eye(self.outputs).reshape(self.outputs, *self.out_shape)
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self.adjoint(basis).reshape(self.outputs, self.inputs)
            magnitude = self.absolute.adjoint(basis)
            loose = gamma(self.fan_out + 2, UNIT64) + self.loose
            rounded = loose * float(np.linalg.norm(magnitude))
        # TINY for what the weights of a block make vanish.
        error = rounded * inflation(magnitude.size) + self.vanished * self.outputs + TINY
        return rows, error

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        """Upper bounds of `||W_j diag(columns)||_2`, broadcastable to `(batch, *out_shape)`.

        Weights of the columns are in [0, 1], or `None`; a map may ignore them.
        """
        return self.row_norms_in(NUMPY, columns)

    def row_norms_in(self, upwards: Upwards, columns: Tensor | None) -> Tensor:
        """The same in another arithmetic."""
        if columns is None or not self.reads_columns:
            norms = self._whole_rows
            return norms if upwards is NUMPY else upwards.arithmetic.constant(norms)
        return self.weighed_rows(upwards, columns)

    def weighed_rows(self, upwards: Upwards, columns: Tensor) -> Tensor:
        """Row norms with weights on the columns, for maps that read them."""
        raise NotImplementedError

    @cached_property
    def _whole_rows(self) -> np.ndarray:
        return self.whole_rows()

    def whole_rows(self) -> np.ndarray:
        """Upper bounds of the norms of whole rows, broadcastable to `(1, *out_shape)`."""
        if self.written is None:
            return up(np.asarray(self.map.row_norms()), self.terms) * (1.0 + self.slack)
        rows, error = self.written
        return (up(l2(rows) + error) * (1.0 + self.slack)).reshape(1, *self.out_shape)

    def by_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        """The local norm by the norm itself and the largest weights."""
        return float(up(times(times(self.norm, rows.max()), columns.max())))

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        """A proved upper bound of `||diag(rows) W diag(columns)||_2` for one sample.

        Weights of columns are in [0, 1], those of rows of any size.
        """
        bound = self.by_norm(rows, columns)
        if self.written is None:
            return bound
        matrix, error = self.written
        error = error * max(1.0, float(rows.max()))
        block = matrix * rows.reshape(-1, 1) * columns.reshape(1, -1)
        return min(bound, (dense_norm(block) + error) * (1.0 + self.slack) * INFLATION)


_BUILDERS: dict[type, Callable[[Any], Proved]] = {}


def register_operator(linear_map: type) -> Callable[[Any], Any]:
    """Decorator that registers how a `LinearMap` becomes a `Proved`, if norms are to be tighter.

    Args:
        linear_map: The exact type of the map.

    Returns:
        The decorator of a function from the map to a `Proved`.

    Raises:
        ValueError: if the type has one already.
    """

    def register(build: Callable[[Any], Proved]) -> Callable[[Any], Proved]:
        if linear_map in _BUILDERS:
            raise ValueError(f"{linear_map.__name__} already has an operator.")
        _BUILDERS[linear_map] = build
        return build

    return register


def prove(linear_map: LinearMap) -> Proved:
    """A map with what a proof adds to it; a NotImplementedError where it cannot compute in NumPy.

    Of a type that nothing is registered for, the norms are those that any map has.
    """
    build = _BUILDERS.get(type(linear_map))
    if build is not None:
        return build(linear_map)
    made = (_BUILDERS[LinearMap] if linear_map.isometry else Proved)(linear_map)
    for method, shape in (("forward", made.in_shape), ("adjoint", made.out_shape)):
        found = getattr(made.map, method)(np.zeros((1, *shape)))
        if not isinstance(found, np.ndarray) or found.dtype != np.float64:
            raise NotImplementedError(
                f"the {method} of its linear map {type(linear_map).__name__} does not compute in float64 "
                "NumPy; write it on self.arithmetic in place of keras.ops, with its coefficients in fields"
            )
    return made
