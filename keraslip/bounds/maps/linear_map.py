"""Linear maps between activations: what a bound has to know of a layer."""

import math
from abc import ABC, abstractmethod
from typing import Any

from keras import ops

Tensor = Any
Shape = tuple[int, ...]


class LinearMap(ABC):
    """A linear map on batches of tensors, without its bias.

    Subclasses give the map, its exact adjoint and two upper bounds that cost next to nothing. All tensors
    carry a batch axis of their own; `in_shape` and `out_shape` do not. Maps are immutable and hold no state
    but their coefficients.

    Args:
        in_shape: Shape of one input, without the batch axis.
        out_shape: Shape of one output, without the batch axis.
    """

    #: True where applying the map costs as much as a convolution.
    convolves = False
    #: True where ||L x|| = ||x|| and every output entry is one input entry or zero.
    isometry = False

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        self.in_shape = tuple(in_shape)
        self.out_shape = tuple(out_shape)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *in_shape)` to `(batch, *out_shape)`."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """The transposed map, `(batch, *out_shape)` to `(batch, *in_shape)`."""

    @abstractmethod
    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        """Upper bounds of `||W_j diag(a)||_2` for every output entry j.

        Args:
            varying: The mask a, `(batch, *in_shape)`, or `None` for all ones. A map may ignore it: the
                norm of the whole row is an upper bound too.
            tight: Use the mask even where that costs as much as a forward pass.

        Returns:
            Tensor that broadcasts to `(batch, *out_shape)`.
        """

    @abstractmethod
    def norm_bound(self) -> Tensor:
        """An upper bound of the global norm, cheap rather than tight; a scalar."""

    def unit(self) -> Tensor:
        """Another upper bound of the norm, for scaling: may be far too large, and reads coefficients once."""
        return self.norm_bound()

    @abstractmethod
    def constant(self) -> "LinearMap":
        """The same map with coefficients that carry no gradient."""

    def prepared(self) -> "LinearMap":
        """The same map, for many applications: what they share is made here, outside of their loop."""
        return self

    @abstractmethod
    def absolute(self) -> "LinearMap":
        """The map whose matrix dominates |W| entrywise, for interval propagation."""

    def rows(self) -> Tensor:
        """All rows of the matrix, for maps onto a vector of logits.

        Returns:
            Tensor `(K, n)`, K the number of outputs and n the number of input entries.
        """
        outputs = math.prod(self.out_shape)
        basis = ops.reshape(ops.eye(outputs), (outputs, *self.out_shape))
        return ops.reshape(self.adjoint(basis), (outputs, math.prod(self.in_shape)))
