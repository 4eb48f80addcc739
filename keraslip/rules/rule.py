"""What a rule is: how one layer type carries the bound."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import keras

from keraslip.bounds.activations import ActivationBounds, clipped_relu_bounds
from keraslip.bounds.ball import AffineForm
from keraslip.bounds.maps import LinearMap
from keraslip.rules.propagation import Propagation

Tensor = Any


class UnsupportedLayerError(NotImplementedError):
    """A layer, or one of its settings, through which keraslip cannot carry a bound."""


class Rule(ABC):
    """How the bound passes through one layer type.

    Override `propagate`; most layers fit one of the two bases below, `LinearRule` and `ActivationRule`,
    that leave a single method to write. Register the rule beside the layer with `register_rule`.
    """

    def check(self, operation: Any) -> None:
        """Raises `UnsupportedLayerError` for a setting of the layer that the rule does not cover."""
        if getattr(operation, "activity_regularizer", None) is not None:
            raise UnsupportedLayerError(
                "an activity regularizer is not seen by the certified training step; "
                "remove it, or use compile(sparsity=...)"
            )
        if getattr(operation, "quantization_mode", None) is not None:
            raise UnsupportedLayerError(
                f"it is quantized ({operation.quantization_mode}); bound the float model instead"
            )

    @abstractmethod
    def propagate(
        self, operation: Any, context: Propagation, *args: Any, **kwargs: Any
    ) -> AffineForm:
        """Carries the bound through one operation.

        Args:
            operation: The layer or bare operation.
            context: Epsilon, masks and norms of this pass.
            *args: The operation's positional arguments, with an `AffineForm` for every tensor.
            **kwargs: Its keyword arguments.

        Returns:
            The `AffineForm` of the output.
        """


class LinearRule(Rule):
    """Base for layers `activation(W x + b)`: override `linear_map`."""

    @abstractmethod
    def linear_map(self, layer: Any, in_shape: tuple[int, ...]) -> LinearMap:
        """The map W of a layer.

        Args:
            layer: The layer.
            in_shape: Shape of one input, without the batch axis.
        """

    def bias(self, layer: Any) -> Tensor | None:
        """What is added to `W x`, broadcastable to the output, or `None`."""
        return None

    def check(self, operation: Any) -> None:
        super().check(operation)
        fused_activation(operation)

    def propagate(
        self, operation: Any, context: Propagation, *args: Any, **kwargs: Any
    ) -> AffineForm:
        form: AffineForm = args[0]
        linear_map = self.linear_map(operation, form.shape)
        center = linear_map.forward(form.center)
        bias = self.bias(operation)
        form = form.mapped(center if bias is None else center + bias, linear_map)
        activation = fused_activation(operation)
        return form if activation is None else context.activate(form, activation)


class ActivationRule(Rule):
    """Base for activations that are 1-Lipschitz in L2: override `bounds`."""

    @abstractmethod
    def bounds(self, layer: Any, z: Tensor, lower: Tensor, upper: Tensor) -> ActivationBounds:
        """Output and constant units when the input lies in `[lower, upper]`.

        Args:
            layer: The layer.
            z: Input at the center, `(batch, *shape)`.
            lower: Smallest input.
            upper: Largest input.
        """

    def propagate(
        self, operation: Any, context: Propagation, *args: Any, **kwargs: Any
    ) -> AffineForm:
        return context.activate(
            args[0], lambda z, lower, upper: self.bounds(operation, z, lower, upper)
        )


def relu_bounds(z: Tensor, lower: Tensor, upper: Tensor) -> ActivationBounds:
    """Bounds of the plain ReLU."""
    return clipped_relu_bounds(z, lower, upper, None)


def fused_activation(layer: Any) -> Callable[..., ActivationBounds] | None:
    """The bounds of a layer's `activation` argument; `None` if it is linear.

    Raises:
        UnsupportedLayerError: for any activation but linear and relu.
    """
    activation = getattr(layer, "activation", None)
    if activation is None or activation is keras.activations.linear:
        return None
    if activation is keras.activations.relu:
        return relu_bounds
    name = getattr(activation, "__name__", repr(activation))
    raise UnsupportedLayerError(
        f"its activation {name!r} has no rule; use 'linear' or 'relu', "
        "or a keraslip.layers activation after it"
    )
