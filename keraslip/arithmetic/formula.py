"""Data plus formulas, in any arithmetic."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np

from keraslip.arithmetic import float64, training
from keraslip.arithmetic.arithmetic import Arithmetic


@dataclass(frozen=True, eq=False)
class Formula:
    """Base of linear maps and activations: fields with coefficients, methods on `self.arithmetic`.

    Subclasses are frozen dataclasses. Tensors in fields, also within tuples and other formulas, are
    coefficients, which `each` changes; every other field (numbers, shapes, names) stays what it is. A float
    is a number as the backend takes it: from `to(float64)` on it is that of float32.
    """

    #: What the formulas compute with; set by `to`.
    arithmetic: Arithmetic | Any = field(default=training, kw_only=True, repr=False)

    def each(self, change: Callable[[Any], Any]) -> Self:
        """The same with other coefficients: what `change` makes of each tensor."""
        return self._rebuilt(
            lambda part: change(part) if _is_tensor(part) else part, self.arithmetic
        )

    def constant(self) -> Self:
        """The same with coefficients that carry no gradient."""
        return self.each(self.arithmetic.stop_gradient)

    def to(self, arithmetic: Arithmetic | Any) -> Self:
        """The same in another arithmetic: `keraslip.arithmetic.training`, `float64`, or a graph's."""

        def moved(part: Any) -> Any:
            if _is_tensor(part):
                return arithmetic.constant(part)
            exact = arithmetic is float64 and isinstance(part, float)
            return float(np.float32(part)) if exact else part

        return self._rebuilt(moved, arithmetic)

    def _rebuilt(self, change: Callable[[Any], Any], arithmetic: Any) -> Self:
        def changed(part: Any) -> Any:
            if isinstance(part, Formula):
                return part._rebuilt(change, arithmetic)
            return tuple(map(changed, part)) if type(part) is tuple else change(part)

        names = [one.name for one in fields(self) if one.init and one.name != "arithmetic"]
        own = {name: changed(getattr(self, name)) for name in names}
        return replace(self, **own, arithmetic=arithmetic)


def _is_tensor(part: Any) -> bool:
    return hasattr(part, "shape") and hasattr(part, "dtype")
