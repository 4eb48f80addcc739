"""Rules of Keras' own activations, and of dropout."""

from typing import Any

import keras
from keras import ops

from keraslip.bounds.activations import ActivationBounds, clipped_relu_bounds
from keraslip.bounds.ball import AffineForm, Ball
from keraslip.rules.propagation import Propagation
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import (
    ActivationRule,
    Rule,
    UnsupportedLayerError,
    fused_activation,
    relu_bounds,
)

Tensor = Any


@register_rule(keras.layers.Activation)
class ActivationLayerRule(Rule):
    """`Activation("linear")` and `Activation("relu")`."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        fused_activation(operation)

    def propagate(
        self, operation: Any, context: Propagation, *args: Any, **kwargs: Any
    ) -> AffineForm:
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

    def bounds(self, layer: Any, z: Tensor, lower: Tensor, upper: Tensor) -> ActivationBounds:
        limit = (
            None if layer.max_value is None else ops.convert_to_tensor(layer.max_value, "float32")
        )
        return clipped_relu_bounds(z, lower, upper, limit)


def _relu_operation() -> type:
    # Bare keras.ops.relu in a graph: its class has no public name, a symbolic call shows it.
    return type(_producer(ops.relu(keras.KerasTensor((None, 1)))))


def _producer(tensor: Any) -> Any:
    return tensor._keras_history.operation


@register_rule(_relu_operation())
class ReLUOperationRule(ActivationRule):
    """A bare `keras.ops.relu(x)` in the graph."""

    def bounds(self, layer: Any, z: Tensor, lower: Tensor, upper: Tensor) -> ActivationBounds:
        return relu_bounds(z, lower, upper)


@register_rule(keras.layers.Dropout)
class DropoutRule(Rule):
    """Identity at inference; while training the very mask that was drawn."""

    def propagate(
        self, operation: Any, context: Propagation, *args: Any, **kwargs: Any
    ) -> AffineForm:
        form: AffineForm = args[0]
        if operation.rate == 0:
            return form
        if not context.training:
            context.announce(form)
            return form
        ball = context.close(form)
        kept = operation(ops.ones_like(ball.center), training=True)  # 0 or 1 / (1 - rate)
        # Kept units grow by one and the same factor, so that is the norm of the map.
        growth = 1.0 / (1.0 - operation.rate)
        box = ball.box
        alive = ops.cast(kept > 0.0, kept.dtype)
        return AffineForm.closed(
            Ball(
                ball.center * kept,
                ball.gain * growth,
                alive if ball.varying is None else ball.varying * alive,
                None if box is None else lambda: tuple(side * kept for side in box()),
                None if ball.global_gain is None else ball.global_gain * growth,
            )
        )
