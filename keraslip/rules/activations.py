"""Rules of Keras' own activations, and of dropout."""

from typing import Any

import keras
from keras import ops

from keraslip.activations import ClippedReLU
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import ActivationRule, Rule, UnsupportedLayerError, fused_activation


@register_rule(keras.layers.Activation)
class ActivationLayerRule(Rule):
    """`Activation("linear")` and `Activation("relu")`."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        fused_activation(operation)

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        activation = fused_activation(operation)
        return args[0] if activation is None else context.activate(args[0], activation)


@register_rule(keras.layers.ReLU)
class ReLURule(ActivationRule):
    """ReLU, with `max_value`; leaky or shifted variants are refused."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        if operation.negative_slope or operation.threshold:
            raise UnsupportedLayerError(
                "negative_slope and threshold have no rule; use ReLU(), ReLU(max_value=...) "
                "or keraslip.layers.ClippedReLU"
            )

    def kind(self, layer: Any) -> ClippedReLU:
        limit = layer.max_value
        return ClippedReLU(None if limit is None else ops.convert_to_tensor(limit, "float32"))


def _relu_operation() -> type:
    # Bare keras.ops.relu in a graph: its class has no public name, a symbolic call shows it.
    return type(_producer(ops.relu(keras.KerasTensor((None, 1)))))


def _producer(tensor: Any) -> Any:
    return tensor._keras_history.operation


@register_rule(_relu_operation())
class ReLUOperationRule(ActivationRule):
    """A bare `keras.ops.relu(x)` in the graph."""

    def kind(self, layer: Any) -> ClippedReLU:
        return ClippedReLU()


@register_rule(keras.layers.Dropout)
class DropoutRule(Rule):
    """Identity at inference; while training the very mask that was drawn."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return args[0] if operation.rate == 0 else context.dropout(args[0], operation)
