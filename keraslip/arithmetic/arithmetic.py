"""What a formula may compute with."""

from collections.abc import Sequence
from typing import Any, Protocol

Tensor = Any


class Arithmetic(Protocol):
    """Functions on tensors, by NumPy's names; a module of such functions is one.

    Operators need no function: `+ - * / @`, comparisons, slices, and `& | ~` of comparisons. A division needs
    one wherever the divisor can be zero: `divide`.
    """

    def constant(self, array: Any) -> Tensor:
        """Coefficients, as tensors of this arithmetic."""
        ...

    def stop_gradient(self, x: Tensor) -> Tensor:
        """x; where there are gradients, without one."""
        ...

    def abs(self, x: Tensor) -> Tensor:
        """Magnitudes."""
        ...

    def sqrt(self, x: Tensor) -> Tensor:
        """Square roots."""
        ...

    def square(self, x: Tensor) -> Tensor:
        """Squares."""
        ...

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        """The larger one, entry by entry."""
        ...

    def minimum(self, a: Tensor, b: Tensor) -> Tensor:
        """The smaller one, entry by entry."""
        ...

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """a where the condition holds, else b; numbers are broadcast."""
        ...

    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        """`a / b`. Where b is zero it is any number, or none, without a warning: replace it by `where`."""
        ...

    def indicator(self, condition: Tensor, like: Tensor) -> Tensor:
        """1.0 where a condition holds and 0.0 elsewhere, in the type of another tensor; no gradient."""
        ...

    def sum(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The sum over some axes."""
        ...

    def mean(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The mean over some axes."""
        ...

    def max(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The largest entry along some axes."""
        ...

    def ones(self, shape: Sequence[int]) -> Tensor:
        """Ones."""
        ...

    def ones_like(self, x: Tensor) -> Tensor:
        """As many ones."""
        ...

    def zeros_like(self, x: Tensor) -> Tensor:
        """As many zeros."""
        ...

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The same entries in another shape; one size may be -1."""
        ...

    def transpose(self, x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
        """The axes in another order; reversed without one."""
        ...

    def broadcast_to(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """x repeated to a shape."""
        ...

    def pad(self, x: Tensor, widths: Sequence[Sequence[int]]) -> Tensor:
        """Zeros before and after the entries of every axis."""
        ...

    def flip(self, x: Tensor, axis: Any) -> Tensor:
        """The entries of some axes in reverse."""
        ...

    def split(self, x: Tensor, count: int, axis: int) -> Sequence[Tensor]:
        """Equal parts along an axis."""
        ...

    def concatenate(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Parts one after the other along an axis."""
        ...

    def take(self, x: Tensor, places: Any, axis: int) -> Tensor:
        """Entries of an axis by their places, which are integers known beforehand."""
        ...

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Matrix products of the last two axes; b is a matrix, or has the leading axes of a."""
        ...
