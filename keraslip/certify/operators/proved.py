"""A linear map and what a proof adds to it: rigorous norms, and how its sums round."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from keraslip.certify.norms import dense_norm
from keraslip.certify.norms.rounding import (
    INFLATION,
    TINY,
    UNIT32,
    UNIT64,
    gamma,
    inflation,
    l2,
    mixed_bound,
    raised,
    times,
    up,
)
from keraslip.certify.operators.upwards import NUMPY, Upwards
from keraslip.linear import DenseMap, DiagonalMap, LinearMap
from keraslip.lockless import cached_property
from keraslip.typing import Shape, Tensor

#: A map is written out for its norm up to this many coefficients.
WRITTEN_OUT = 2_000_000
#: Rows of random integers that show whether a map has coefficients that are in no field.
_DRAWS = 32


class Proved:
    """A linear map in float64, without its bias, and what a proof adds to it.

    All that is about rounding follows from the map, so that nobody can state it wrongly. This class does for
    any map; those of `keraslip.linear` have subclasses with tighter norms.

    Args:
        linear_map: The map, in any arithmetic.
        slack: Relative error of the coefficients here against those that the layer computes with; by default
            what the map's `roundings` say.
    """

    #: Whether `row_norms` takes its weights into account.
    reads_columns = False
    #: Whether there are results on the way that `swell` does not tell.
    staged = False
    #: Whether the scale of a layer next to it was multiplied into the coefficients.
    folded = False
    #: Relative error of products that are added up to a coefficient, which may cancel.
    loose = 0.0

    def __init__(self, linear_map: LinearMap, slack: float | None = None) -> None:
        self.map = NUMPY.map(linear_map)
        self.slack = linear_map.roundings * UNIT32 if slack is None else slack

    @cached_property
    def in_shape(self) -> Shape:
        """Shape of one input, without the batch axis."""
        return tuple(self.map.in_shape)

    @cached_property
    def out_shape(self) -> Shape:
        """Shape of one output, without the batch axis."""
        return tuple(self.map.out_shape)

    @property
    def moves(self) -> bool:
        """Whether every output entry is one input entry, used once, or zero."""
        return self.map.isometry

    @property
    def copies(self) -> bool:
        """Whether every output entry is one input entry, or zero."""
        return self.map.copies or self.moves

    @property
    def entrywise(self) -> bool:
        """Whether every output entry is one input entry, or a multiple of it."""
        return self.copies or isinstance(self.map, DiagonalMap)

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
    def one_sum(self) -> bool:
        """Whether an output is one sum of products: sums of sums that were rounded before round more."""
        return self.map.one_sum

    def forward(self, x: np.ndarray) -> np.ndarray:
        """`(batch, *in_shape)` to `(batch, *out_shape)`; float32 for float32, as the layer computes."""
        return (self.map if x.dtype == np.float64 else self.single).forward(x)

    @cached_property
    def single(self) -> LinearMap:
        """The map in float32."""
        return self.map.each(lambda array: array.astype("float32"))

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        """The transposed map, `(batch, *out_shape)` to `(batch, *in_shape)`."""
        return self.map.adjoint(y)

    @cached_property
    def absolute(self) -> "Proved":
        """The map with |W|."""
        return type(self)(self.map.absolute(), 0.0)

    @property
    def signless(self) -> "Proved":
        """A map whose row norms bound those of |W|."""
        return self

    # --- Norms -------------------------------------------------------------------------------------

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

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        """A proved upper bound of `||diag(rows) W diag(columns)||_2` for one sample, weights in [0, 1]."""
        bound = float(up(times(times(self.norm, rows.max()), columns.max())))
        if self.written is None:
            return bound
        matrix, error = self.written
        block = matrix * rows.reshape(-1, 1) * columns.reshape(1, -1)
        return min(bound, (dense_norm(block) + error) * (1.0 + self.slack) * INFLATION)

    # --- Rounding: all of it follows from the map ------------------------------------------------------

    @cached_property
    def _counts(self) -> tuple[int, int] | None:
        """How many products one output, and one entry of the adjoint, add up at most; `None` if unknown.

        With every coefficient replaced by one the map counts them, if all its coefficients are in its fields.
        """
        if type(self.map) is DenseMap:  # the same without two more copies of what may be a gigabyte
            used = self.map.kernel != 0.0
            return int(used.sum(axis=0).max()), int(used.sum(axis=1).max())
        pattern = self.map.absolute().each(lambda array: (array != 0.0).astype("float64"))
        if not self.map.stores:
            rng = np.random.default_rng(0)
            drawn = rng.integers(1, 2**20, (_DRAWS, *self.in_shape)).astype("float64")
            counted = pattern.forward(drawn)
            # Another coefficient, such as the share of a mean, gives fractions.
            if not (counted == np.round(counted)).all():
                return None
        out = pattern.forward(np.ones((1, *self.in_shape)))
        back = pattern.adjoint(np.ones((1, *self.out_shape)))
        return int(out.max()), int(np.ceil(back.max()))

    @cached_property
    def terms(self) -> int:
        """Largest number of products that one output adds up."""
        return self.inputs if self._counts is None else self._counts[0]

    @cached_property
    def fan_out(self) -> int:
        """Largest number of products that one entry of the adjoint adds up, or more."""
        return self.outputs if self._counts is None else self._counts[1]

    @cached_property
    def swell(self) -> Any:
        """The largest number on the way to an output, as a multiple of the sum of the products' magnitudes.

        Means are sums that are divided. A number, or an array that broadcasts to `(1, *out_shape)`.
        """
        return 1.0 if self._counts is not None else float(self.inputs)

    @cached_property
    def flushes(self) -> np.ndarray:
        """What a sum can lose where float32 takes numbers below the smallest for zero, `(1, *out_shape)`.

        In units of the smallest: every product and sum, and, times its coefficient, every input and what the
        layer adds to it first, and what the activation before may have lost.
        """
        return 2.0 * self.terms + 8.0 + 4.0 * self.row_sums

    @cached_property
    def underflows(self) -> np.ndarray:
        """What the certifier's own products may have lost to underflow, `(1, *out_shape)`."""
        return np.where(self.row_sums > 0.0, 2.0 * TINY * self.flushes, 0.0)

    @cached_property
    def vanished(self) -> float:
        """The L2 norm of what an application of `adjoint` may have lost to underflow, or more."""
        return (self.fan_out + 2) * TINY * math.sqrt(self.inputs)

    def vanishing(self, smallest: float) -> np.ndarray | None:
        """Sums of the magnitudes of the coefficients that an execution may take for zero, for every output.

        Upper bounds `(1, *out_shape)`, or `None` if no coefficient but zero is below the smallest number.
        """
        if not self.map.stores:
            return np.full((1, *self.out_shape), self.terms * smallest)
        if self.least >= smallest:
            return None

        def small(array: np.ndarray) -> np.ndarray:
            return np.where(np.abs(array) < smallest, np.abs(array), 0.0)

        return up(self.map.each(small).forward(np.ones((1, *self.in_shape))), self.terms)

    @cached_property
    def row_sums(self) -> np.ndarray:
        """Sums of the magnitudes of the coefficients, for every output, `(1, *out_shape)`."""
        return up(self.absolute.forward(np.ones((1, *self.in_shape))), self.terms)

    @cached_property
    def growth(self) -> float:
        """The largest number on the way to any output, per unit of the largest input."""
        return float(np.max(self.row_sums * self.swell))

    @cached_property
    def greatest(self) -> float:
        """The largest magnitude of a coefficient, or more."""
        if not self.map.stores:
            return float(self.row_sums.max())
        # Without an array of magnitudes, which may take a gigabyte.
        return max(
            float(max(array.max(initial=0.0), -array.min(initial=0.0)))
            for array in coefficients(self.map)
        )

    @cached_property
    def least(self) -> float:
        """The smallest magnitude of a coefficient but zero, infinite if there is none."""
        magnitudes = (np.abs(array) for array in coefficients(self.map))
        return min(float(m.min(initial=np.inf, where=m != 0.0)) for m in magnitudes)

    @cached_property
    def outputs(self) -> int:
        """Number of entries of one output."""
        return math.prod(self.out_shape)

    @cached_property
    def inputs(self) -> int:
        """Number of entries of one input."""
        return math.prod(self.in_shape)


def coefficients(linear_map: LinearMap) -> list[np.ndarray]:
    """All arrays of coefficients of a map."""
    found: list[np.ndarray] = []

    def keep(array: np.ndarray) -> np.ndarray:
        found.append(array)
        return array

    linear_map.each(keep)
    return found


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
    """A map with what a proof adds to it.

    Args:
        linear_map: Any map; of a type that nothing is registered for, the norms are those that any map has.

    Raises:
        NotImplementedError: for a map that cannot compute in NumPy.
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
