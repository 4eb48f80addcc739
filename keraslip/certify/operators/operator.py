"""Linear maps in float64 NumPy with rigorous norms: what a proof needs of a layer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from keraslip.certify.norms.rounding import INFLATION, TINY, raised, times, up
from keraslip.linear import LinearMap

Shape = tuple[int, ...]


class Operator(ABC):
    """A linear map without its bias.

    Args:
        in_shape: Shape of one input, without the batch axis.
        out_shape: Shape of one output, without the batch axis.
        terms: Largest number of products that one output adds up.
        slack: Relative error of the coefficients here against those that the layer computes with.
    """

    #: Whether every output entry is one input entry, used once, or zero.
    moves = False
    #: Whether `row_norms` takes its weights into account.
    reads_columns = False
    #: Whether a local norm takes long.
    costly = False
    #: Whether an output is one sum of products, not a sum of results that were rounded before: it has less
    #: rounding, so an operator has to say so.
    one_sum = False
    #: The largest number on the way to an output, as a multiple of the sum of the products' magnitudes:
    #: means are sums that are divided. A number, or an array that broadcasts to `(1, *out_shape)`.
    swell: Any = 1.0
    #: Whether there are results on the way that `swell` does not tell.
    staged = False
    #: Whether the scale of a layer before was multiplied into the coefficients.
    folded = False

    def __init__(self, in_shape: Shape, out_shape: Shape, terms: int, slack: float = 0.0) -> None:
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        self.terms, self.slack = terms, slack

    @abstractmethod
    def forward(self, x: np.ndarray) -> np.ndarray:
        """`(batch, *in_shape)` to `(batch, *out_shape)`; float32 for float32, as the layer computes."""

    @abstractmethod
    def adjoint(self, y: np.ndarray) -> np.ndarray:
        """The transposed map, `(batch, *out_shape)` to `(batch, *in_shape)`."""

    @abstractmethod
    def build_absolute(self) -> "Operator":
        """The map with |W|."""

    @abstractmethod
    def build_norm(self) -> float:
        """A proved upper bound of the spectral norm."""

    @abstractmethod
    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        """Upper bounds of `||W_j diag(columns)||_2`, broadcastable to `(batch, *out_shape)`.

        Args:
            columns: Weights in [0, 1], `(batch, *in_shape)`, or `None`. A map may ignore them.
        """

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        """A proved upper bound of `||diag(rows) W diag(columns)||_2` for one sample.

        Args:
            rows: Weights in [0, 1], `out_shape`.
            columns: Weights in [0, 1], `in_shape`.
        """
        return float(up(times(times(self.norm, rows.max()), columns.max())))

    @cached_property
    def norm(self) -> float:
        """A proved upper bound of the spectral norm, found once."""
        return raised(self.build_norm() * (1.0 + self.slack) * INFLATION)

    @cached_property
    def absolute_norm(self) -> float:
        """An upper bound of the norm of |W|, cheap where that is tight enough."""
        return self.absolute.norm

    @cached_property
    def absolute(self) -> "Operator":
        """The map with |W|."""
        return self.build_absolute()

    @property
    def signless(self) -> "Operator":
        """A map whose row norms bound those of |W|."""
        return self

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
        """Sums of the magnitudes of the coefficients below the smallest number, for every output.

        Args:
            smallest: Magnitude below which the execution may take a coefficient for zero.

        Returns:
            Upper bounds `(1, *out_shape)`, or `None` if there is no such coefficient but zero.
        """
        return np.full((1, *self.out_shape), self.terms * smallest)

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
        return float(self.row_sums.max())

    @property
    def fan_out(self) -> int:
        """Largest number of products that one entry of the adjoint adds up, or more."""
        return self.outputs

    @property
    def outputs(self) -> int:
        """Number of entries of one output."""
        return math.prod(self.out_shape)

    @property
    def inputs(self) -> int:
        """Number of entries of one input."""
        return math.prod(self.in_shape)


_BUILDERS: dict[type, Callable[[Any], Operator]] = {}


def register_operator(linear_map: type) -> Callable[[Any], Any]:
    """Decorator that registers how a `LinearMap` becomes an `Operator`.

    Args:
        linear_map: The exact type of the map.

    Returns:
        The decorator of a function from the map to an `Operator`.

    Raises:
        ValueError: if the type has one already.
    """

    def register(build: Callable[[Any], Operator]) -> Callable[[Any], Operator]:
        if linear_map in _BUILDERS:
            raise ValueError(f"{linear_map.__name__} already has an operator.")
        _BUILDERS[linear_map] = build
        return build

    return register


def operator_of(linear_map: LinearMap) -> Operator:
    """The operator of a map.

    Raises:
        NotImplementedError: for a type that has none.
    """
    build = _BUILDERS.get(type(linear_map))
    if build is None:
        raise NotImplementedError(
            f"no proved norm is known for the linear map {type(linear_map).__name__}; register one "
            f"with @keraslip.certify.register_operator({type(linear_map).__name__})"
        )
    return build(linear_map)
