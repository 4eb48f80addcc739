"""Linear maps between activations: what a bound has to know of a layer."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from keraslip.arithmetic import Formula
from keraslip.linear.magnitudes import mixed_norm
from keraslip.typing import Shape, Tensor


@dataclass(frozen=True, eq=False)
class LinearMap(Formula, ABC):
    """A linear map on batches of tensors, without its bias.

    A subclass is a frozen dataclass with a field `in_shape`. It gives `forward` and `adjoint`, written on
    `self.arithmetic`, which has NumPy's names, and holds every coefficient in a field: training, certificates
    and exported graphs then run the same two methods, on other tensors. All tensors carry a batch axis of
    their own; `in_shape` and `out_shape` do not.

    `row_norms` and `norm_bound` may be overridden by something tighter.

    Example:

    ```python
    @dataclass(frozen=True, eq=False)
    class Negative(keraslip.linear.LinearMap):
        scale: Any  # a tensor of one entry
        in_shape: tuple[int, ...]

        def forward(self, x):
            return x * self.scale

        adjoint = forward
    ```
    """

    #: True where applying the map costs as much as a convolution.
    convolves: ClassVar[bool] = False
    #: True where every output entry is an input entry, each used at most once, or zero: ||L x|| <= ||x||.
    isometry: ClassVar[bool] = False
    #: True where every output entry is an input entry, which may be used several times, or zero.
    copies: ClassVar[bool] = False
    #: Roundings in float32 that a coefficient may carry; 0 for weights as they are stored.
    roundings: ClassVar[int] = 8
    #: Whether an output is one sum of products, not a sum of results that were rounded before.
    one_sum: ClassVar[bool] = False
    #: Whether every entry of the matrix is one coefficient, or zero.
    stores: ClassVar[bool] = False

    if TYPE_CHECKING:

        @property
        def in_shape(self) -> Shape:
            """Shape of one input, without the batch axis."""

    @property
    def out_shape(self) -> Shape:
        """Shape of one output, without the batch axis; that of the input by default."""
        return self.in_shape

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *in_shape)` to `(batch, *out_shape)`."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """The transposed map, `(batch, *out_shape)` to `(batch, *in_shape)`."""

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        """Upper bounds of `||W_j diag(a)||_2` for every output entry j.

        Args:
            varying: The mask a, `(batch, *in_shape)`, or `None` for all ones. A map may ignore it: the
                norm of the whole row is an upper bound too.
            tight: Use the mask even where that costs as much as a forward pass.

        Returns:
            Tensor that broadcasts to `(batch, *out_shape)`.
        """
        ones = self.arithmetic.ones((1, *self.in_shape)) if varying is None else varying
        # Sums of magnitudes: nothing else is known of any map.
        return self.absolute().forward(ones)

    def norm_bound(self) -> Tensor:
        """An upper bound of the global norm, cheap rather than tight; a scalar."""
        xp, absolute = self.arithmetic, self.absolute()
        into_one = xp.max(absolute.forward(xp.ones((1, *self.in_shape))))
        from_one = xp.max(absolute.adjoint(xp.ones((1, *self.out_shape))))
        return mixed_norm(xp, from_one, into_one)

    def unit(self) -> Tensor:
        """Another upper bound of the norm, for scaling: may be far too large, and reads coefficients once."""
        return self.norm_bound()

    def prepared(self) -> "LinearMap":
        """The same map, for many applications: what they share is made here, outside of their loop."""
        return self

    def absolute(self) -> Self:
        """The map whose matrix dominates |W| entrywise.

        A map with a sign that is in none of its fields has to override it.
        """
        return self.each(self.arithmetic.abs)

    def scaled_in(self, scale: Tensor) -> "LinearMap | None":
        """The map after a scale `(1, ...)` of its inputs, `None` where that is another kind of map."""
        return None

    def scaled_out(self, scale: Tensor) -> "LinearMap | None":
        """The map before a scale `(1, ...)` of its outputs, `None` where that is another kind of map."""
        return None

    def rows(self) -> Tensor:
        """All rows of the matrix, for maps onto a vector of logits.

        Returns:
            Tensor `(K, n)`, K the number of outputs and n the number of input entries.
        """
        outputs, xp = math.prod(self.out_shape), self.arithmetic
        basis = xp.reshape(xp.eye(outputs), (outputs, *self.out_shape))
        return xp.reshape(self.adjoint(basis), (outputs, math.prod(self.in_shape)))


def channel_scale(arithmetic: Any, scale: Tensor, channels: int) -> Tensor | None:
    """The scale `(1, ...)` of each channel (last axis), or `None` where it depends on more."""
    if any(size != 1 for size in scale.shape[:-1]):
        return None
    return arithmetic.broadcast_to(arithmetic.reshape(scale, (-1,)), (channels,))
