"""Rule of batch normalisation."""

from typing import Any

import keras
from keras import ops

from keraslip.linear import DiagonalMap
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.linear import full_precision
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError


@register_rule(keras.layers.BatchNormalization)
class BatchNormalizationRule(Rule):
    """A scale and a shift of every channel, by the moving statistics.

    A training step normalises by the statistics of its batch, as Keras does; its bound is that of the network
    with these statistics as fixed numbers.
    """

    def check(self, operation: Any) -> None:
        super().check(operation)
        if operation.renorm:
            raise UnsupportedLayerError(
                "renorm=True corrects the statistics of a batch by numbers that no bound follows; use "
                "BatchNormalization() without it"
            )

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        form, layer = args[0], operation
        mean, variance = context.statistics(form, layer) or (
            full_precision(layer.moving_mean),
            full_precision(layer.moving_variance),
        )
        scale = ops.rsqrt(variance + layer.epsilon)
        if layer.scale:
            scale = scale * full_precision(layer.gamma)
        shape = [1] * (len(form.shape) + 1)
        shape[layer.axis] = -1
        scale, mean = (ops.reshape(part, shape) for part in (scale, mean))
        # Two steps, for backends add beta to -mean * scale before they add the rest, or after.
        scaled = context.linear(form, DiagonalMap(scale, form.shape), -mean * scale)
        if not layer.center:
            return scaled
        return context.shift(scaled, ops.reshape(full_precision(layer.beta), shape))
