"""What a formula may compute with."""

from collections.abc import Sequence
from typing import Any, Protocol

from keraslip.arithmetic.geometry import ConvGeometry, PoolGeometry, Shape
from keraslip.typing import Tensor


class Arithmetic(Protocol):
    """Functions on tensors, by NumPy's names; a module of such functions is one.

    Operators need no function: `+ - * / @`, comparisons, slices, and `& | ~` of comparisons. A division needs
    one wherever the divisor can be zero: `divide`.
    """

    def constant(self, array: Any) -> Tensor:
        """Coefficients, as tensors of this arithmetic."""

    def stop_gradient(self, x: Tensor) -> Tensor:
        """x; where there are gradients, without one."""

    def abs(self, x: Tensor) -> Tensor:
        """Magnitudes."""

    def sqrt(self, x: Tensor) -> Tensor:
        """Square roots."""

    def square(self, x: Tensor) -> Tensor:
        """Squares."""

    def exp(self, x: Tensor) -> Tensor:
        """Exponentials."""

    def log(self, x: Tensor) -> Tensor:
        """Natural logarithms."""

    def tanh(self, x: Tensor) -> Tensor:
        """Hyperbolic tangents."""

    def erf(self, x: Tensor) -> Tensor:
        """The error function."""

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        """The larger one, entry by entry."""

    def minimum(self, a: Tensor, b: Tensor) -> Tensor:
        """The smaller one, entry by entry."""

    def relu(self, x: Tensor) -> Tensor:
        """`maximum(x, 0)`, with no gradient at 0."""

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """a where the condition holds, else b; numbers are broadcast."""

    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        """`a / b`. Where b is zero it is any number, or none, without a warning: replace it by `where`."""

    def indicator(self, condition: Tensor, like: Tensor) -> Tensor:
        """1.0 where a condition holds and 0.0 elsewhere, in the type of another tensor; no gradient."""

    def sum(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The sum over some axes."""

    def mean(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The mean over some axes."""

    def max(self, x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The largest entry along some axes."""

    def ones(self, shape: Sequence[int]) -> Tensor:
        """Ones."""

    def ones_like(self, x: Tensor) -> Tensor:
        """As many ones."""

    def zeros_like(self, x: Tensor) -> Tensor:
        """As many zeros."""

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The same entries in another shape; one size may be -1."""

    def transpose(self, x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
        """The axes in another order; reversed without one."""

    def broadcast_to(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """x repeated to a shape."""

    def pad(self, x: Tensor, widths: Sequence[Sequence[int]]) -> Tensor:
        """Zeros before and after the entries of every axis."""

    def flip(self, x: Tensor, axis: Any) -> Tensor:
        """The entries of some axes in reverse."""

    def split(self, x: Tensor, count: int, axis: int) -> Sequence[Tensor]:
        """Equal parts along an axis."""

    def concatenate(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Parts one after the other along an axis."""

    def sort(self, x: Tensor, axis: int) -> Tensor:
        """The entries along an axis in rising order."""

    def take(self, x: Tensor, places: Any, axis: int) -> Tensor:
        """Entries of an axis by their places, which are integers known beforehand."""

    def lookup(self, table: Tensor, places: Tensor) -> Tensor:
        """Entries of a table with one axis, by numbers that are rounded down, and kept inside of it."""

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Matrix products of the last two axes; b is a matrix, or has the leading axes of a."""

    def eye(self, size: int) -> Tensor:
        """The identity matrix."""

    def einsum(self, subscripts: str, *parts: Tensor) -> Tensor:
        """Sums of products, by Einstein's convention."""

    def conv_kernel(self, kernel: Tensor, geometry: ConvGeometry, channels: int) -> Tensor:
        """The kernel `(height, width, channels / groups, filters)` in the form that `conv` takes."""

    def conv(self, x: Tensor, kernel: Tensor, geometry: ConvGeometry) -> Tensor:
        """A convolution in channels-last layout, all groups at once."""

    def adjoint_kernel(self, kernel: Tensor, geometry: ConvGeometry, channels: int) -> Tensor:
        """The same kernel in the form that `conv_adjoint` takes."""

    def conv_adjoint(
        self, y: Tensor, kernel: Tensor, geometry: ConvGeometry, in_shape: Shape, left: Shape
    ) -> Tensor:
        """The transposed convolution, exactly: `(batch, out_height, out_width, filters)` back to `in_shape`.

        `kernel` is what `adjoint_kernel` made; `left` are rows above and columns left that are padding.
        """

    def average_pool(self, x: Tensor, sides: Any, pool: PoolGeometry) -> Tensor:
        """Means over windows of images `(batch, height, width, channels)`.

        `sides` are the shares of every pixel, `(height, out_height)` and `(width, out_width)`; a backend
        knows its own.
        """
