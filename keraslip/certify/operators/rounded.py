"""A linear map in float64, and how its sums round: all of it follows from the map."""

import math
from typing import Any

import numpy as np

from keraslip.certify.norms.rounding import TINY, UNIT32, up
from keraslip.certify.operators.upwards import NUMPY
from keraslip.linear import DenseMap, DiagonalMap, LinearMap
from keraslip.lockless import cached_property
from keraslip.typing import Shape

#: Rows of random integers that show whether a map has coefficients that are in no field.
_DRAWS = 32


class Rounded:
    """A linear map in float64, without its bias, and how its sums round.

    All that is about rounding follows from the map, so that nobody can state it wrongly.

    Args:
        linear_map: The map, in any arithmetic.
        slack: Relative error of the coefficients here against those that the layer computes with; by default
            what the map's `roundings` say.
    """

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
    def absolute(self) -> Any:
        """The map with |W|."""
        return type(self)(self.map.absolute(), 0.0)

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
