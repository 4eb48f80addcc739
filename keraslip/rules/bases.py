"""What most rules need: one method for a linear layer, one for an activation."""

from abc import abstractmethod
from typing import Any

import keras

from keraslip.activations import Activation
from keraslip.linear import LinearMap
from keraslip.rules.fused import spoken
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.reasons import reason_against_function
from keraslip.rules.registry import check_as_registered, rule_for_function
from keraslip.rules.rule import Rule, UnsupportedLayerError, broadcasts
from keraslip.typing import Tensor


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


def fused_activation(layer: Any) -> Activation | None:
    """A layer's `activation` argument; `None` if it is linear."""
    function = getattr(layer, "activation", None)
    if function is None or function is keras.activations.linear:
        return None
    rule, reason = rule_for_function(function), reason_against_function(function)
    if rule is None and reason is not None:
        raise UnsupportedLayerError(f"its activation {spoken(function)!r} is refused: {reason}")
    if not isinstance(rule, ActivationRule):
        raise UnsupportedLayerError(
            f"its activation {spoken(function)!r} has no rule; use one that has, such as 'relu', 'tanh' or "
            "'gelu', or a keraslip.layers activation after it"
        )
    if isinstance(function, keras.Operation):
        check_as_registered(function)
    rule.check(function)
    return rule.kind(function)
