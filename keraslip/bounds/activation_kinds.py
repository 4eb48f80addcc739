"""Activations as data: what they are, apart from how a pass bounds them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from keraslip.bounds.activations import (
    ActivationBounds,
    clipped_maxmin,
    clipped_maxmin_bounds,
    clipped_relu,
    clipped_relu_bounds,
)

Tensor = Any


@dataclass(frozen=True, eq=False)
class ClippedReLUKind:
    """`min(max(z, 0), threshold)`.

    Args:
        threshold: Broadcastable to `(1, *shape)`, or `None` for the plain ReLU.
    """

    threshold: Tensor | None = None
    #: Whether a unit can be constant in a ball: whether there is anything to mask.
    masks: ClassVar[bool] = True

    def output(self, z: Tensor) -> Tensor:
        """What the activation makes of z."""
        return clipped_relu(z, self.threshold)

    def bounds(self, z: Tensor, lower: Tensor, upper: Tensor) -> ActivationBounds:
        """See `clipped_relu_bounds`."""
        return clipped_relu_bounds(z, lower, upper, self.threshold)


@dataclass(frozen=True, eq=False)
class MaxMinKind:
    """`(min(max(p, q), upper), max(min(p, q), lower))` of the halves p, q along an axis.

    Args:
        upper: Clip of the maximum, broadcastable to half of `(1, *shape)`, or `None`.
        lower: Clip of the minimum, or `None`.
        axis: The axis that is halved, batch axis included.
    """

    upper: Tensor | None
    lower: Tensor | None
    axis: int

    @property
    def masks(self) -> bool:
        """Whether a unit can be constant in a ball: whether there is anything to mask."""
        return self.upper is not None or self.lower is not None

    def output(self, z: Tensor) -> Tensor:
        """What the activation makes of z."""
        return clipped_maxmin(z, self.upper, self.lower, self.axis)

    def bounds(self, z: Tensor, lower: Tensor, upper: Tensor) -> ActivationBounds:
        """See `clipped_maxmin_bounds`."""
        return clipped_maxmin_bounds(z, lower, upper, (self.upper, self.lower), self.axis)


ActivationKind = ClippedReLUKind | MaxMinKind


@dataclass(frozen=True, eq=False)
class Activation:
    """An activation on its way from a rule to a pass.

    Args:
        bounds: From `(z, lower, upper)` to the `ActivationBounds`.
        kind: What it is; `None` where only `bounds` is known, which no proof can rest on.
        name: What to call it in messages.
    """

    bounds: Callable[[Tensor, Tensor, Tensor], ActivationBounds]
    kind: ActivationKind | None = None
    name: str = "activation"

    @classmethod
    def of(cls, kind: ActivationKind, name: str) -> "Activation":
        """The activation of a kind."""
        return cls(kind.bounds, kind, name)
