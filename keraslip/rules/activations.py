"""Rules of Keras' own activations, and of dropout."""

from typing import Any

import keras
from keras import ops

from keraslip.activations import ClippedReLU
from keraslip.rules.bases import ActivationRule, fused_activation
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.registry import bare_operation, register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError


@register_rule(keras.layers.Activation)
class ActivationLayerRule(Rule):
    """`Activation("linear")`, and those of functions that have a rule, such as `"relu"`."""

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


@register_rule(bare_operation(ops.relu), keras.activations.relu)
class ReLUFunctionRule(ActivationRule):
    """A bare `keras.ops.relu(x)` in the graph, and `activation="relu"`."""

    def kind(self, layer: Any) -> ClippedReLU:
        return ClippedReLU()


@register_rule(keras.layers.Dropout)
class DropoutRule(Rule):
    """Identity at inference; while training the very mask that was drawn."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return args[0] if operation.rate == 0 else context.dropout(args[0], operation)
