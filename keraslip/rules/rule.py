"""What a rule is: how one layer type carries the bound."""

from abc import ABC, abstractmethod
from typing import Any

import keras

from keraslip.activations import Activation, ClippedReLU
from keraslip.linear import LinearMap
from keraslip.rules.interpreter import Form, Interpreter

Tensor = Any


class UnsupportedLayerError(NotImplementedError):
    """A layer, or one of its settings, through which keraslip cannot carry a bound."""


class MismatchError(UnsupportedLayerError):
    """A layer that does not compute what its rule says, found by running it."""


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
                f"it is quantized ({operation.quantization_mode}): bounds are about float32 weights. Use the "
                "model as it was before quantize(), for example from its .keras file"
            )
        if getattr(operation, "lora_enabled", False):
            raise UnsupportedLayerError(
                "it has LoRA weights beside its kernel. Build the layer without lora_rank, and give it "
                "the sum, which is layer.kernel"
            )

    @abstractmethod
    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        """Carries the bound through one operation.

        Args:
            operation: The layer or bare operation.
            context: The pass: its methods are the steps that a bound can take.
            *args: The operation's positional arguments, with a form for every tensor.
            **kwargs: Its keyword arguments.

        Returns:
            The form of the output.
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

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        linear_map, bias = self.linear_map(operation, args[0].shape), self.bias(operation)
        if bias is not None and not broadcasts(tuple(bias.shape), (1, *linear_map.out_shape)):
            raise UnsupportedLayerError(
                "What is added to the output does not have its shape, or one that broadcasts to it. "
                f"Received: {tuple(bias.shape)} for an output of shape {linear_map.out_shape}"
            )
        form = context.linear(args[0], linear_map, bias)
        activation = fused_activation(operation)
        return form if activation is None else context.activate(form, activation)


class ActivationRule(Rule):
    """Base for activations: override `kind`."""

    @abstractmethod
    def kind(self, layer: Any) -> Activation:
        """What the activation is, with the layer's coefficients.

        Args:
            layer: The layer.
        """

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return context.activate(args[0], self.kind(operation))


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether a tensor of a shape broadcasts to another one without enlarging it."""
    sides = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(a in (1, b) for a, b in sides)


def fused_activation(layer: Any) -> Activation | None:
    """A layer's `activation` argument; `None` if it is linear.

    Raises:
        UnsupportedLayerError: for any activation but linear and relu.
    """
    activation = getattr(layer, "activation", None)
    if activation is None or activation is keras.activations.linear:
        return None
    if activation is keras.activations.relu:
        return ClippedReLU()
    name = getattr(activation, "__name__", repr(activation))
    raise UnsupportedLayerError(
        f"its activation {name!r} has no rule; use 'linear' or 'relu', "
        "or a keraslip.layers activation after it"
    )
