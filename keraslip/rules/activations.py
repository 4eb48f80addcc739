"""Rules of Keras' own activations, and of dropout."""

from typing import Any

import keras
from keras import ops

from keraslip.activations import Activation, ClippedReLU, PiecewiseLinear
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
    """ReLU, with `max_value` and `negative_slope`; one with a threshold jumps, and is refused."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        if operation.threshold:
            raise UnsupportedLayerError(
                f"it jumps from 0 to {operation.threshold} at its threshold, so that no Lipschitz constant "
                "bounds it; use ReLU() without threshold"
            )

    def kind(self, layer: Any) -> Activation:
        limit = layer.max_value
        if layer.negative_slope:
            return leaky_relu(layer.negative_slope, limit)
        return ClippedReLU(None if limit is None else ops.convert_to_tensor(limit, "float32"))


@register_rule(bare_operation(ops.relu), keras.activations.relu)
class ReLUFunctionRule(ActivationRule):
    """A bare `keras.ops.relu(x)` in the graph, and `activation="relu"`."""

    def kind(self, layer: Any) -> ClippedReLU:
        return ClippedReLU()


def leaky_relu(slope: float, limit: float | None = None) -> PiecewiseLinear:
    """`slope * z` below 0, and z above it up to a limit."""
    if not limit:
        return PiecewiseLinear((0.0,), (float(slope), 1.0 if limit is None else 0.0))
    return PiecewiseLinear((0.0, float(limit)), (float(slope), 1.0, 0.0))


@register_rule(keras.layers.LeakyReLU, bare_operation(ops.leaky_relu), keras.activations.leaky_relu)
class LeakyReLURule(ActivationRule):
    """The layer, a bare `keras.ops.leaky_relu(x)` in the graph, and `activation="leaky_relu"`."""

    def kind(self, layer: Any) -> PiecewiseLinear:
        # The function has the slope 0.2.
        return leaky_relu(getattr(layer, "negative_slope", 0.2))


@register_rule(keras.layers.Dropout)
class DropoutRule(Rule):
    """Identity at inference; while training the very mask that was drawn."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return args[0] if operation.rate == 0 else context.dropout(args[0], operation)
