"""The transposed map as a map of its own."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from keraslip.linear.linear_map import LinearMap, Shape
from keraslip.linear.magnitudes import safe_sqrt
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class AdjointMap(LinearMap):
    """The adjoint of a map that stores its coefficients: a transposed convolution."""

    one_sum: ClassVar[bool] = True

    of: LinearMap  #: The map; its outputs are the inputs here.
    in_shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        if not self.of.stores:
            raise ValueError(f"Not every entry of {type(self.of).__name__} is one coefficient.")
        object.__setattr__(self, "in_shape", self.of.out_shape)

    @property
    def out_shape(self) -> Shape:
        return self.of.in_shape

    @property
    def convolves(self) -> bool:  # type: ignore[override]
        return self.of.convolves

    @property
    def roundings(self) -> int:  # type: ignore[override]
        return self.of.roundings

    @property
    def stores(self) -> bool:  # type: ignore[override]
        return self.of.stores

    def forward(self, x: Tensor) -> Tensor:
        return self.of.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.of.forward(y)

    def row_norms(self, varying: Tensor | None = None, tight: bool = False) -> Tensor:
        xp = self.arithmetic
        ones = xp.ones((1, *self.in_shape))
        mask = varying if varying is not None and tight else ones
        unit = xp.stop_gradient(self.of.norm_bound())
        unit = xp.where(unit <= 0.0, xp.ones_like(unit), unit)
        squares = self.of.each(lambda part: xp.square(part / unit))
        return unit * safe_sqrt(xp, squares.adjoint(xp.square(mask)))

    def norm_bound(self) -> Tensor:
        return self.of.norm_bound()

    def unit(self) -> Tensor:
        return self.of.unit()

    def absolute(self) -> "AdjointMap":
        return replace(self, of=self.of.absolute())

    def prepared(self) -> LinearMap:
        return replace(self, of=self.of.prepared())
