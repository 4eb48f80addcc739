"""Rules of layers on sequences `(steps, channels)`: those of images of one row."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from keraslip.linear import (
    AdjointMap,
    AveragePoolMap,
    ConvGeometry,
    ConvMap,
    LinearMap,
    ReshapeMap,
    ZeroPadMap,
    compose,
)
from keraslip.rules.linear import (
    ConvolutionRule,
    LinearRule,
    depthwise,
    full_precision,
    in_channels_last,
)
from keraslip.rules.registry import register_rule
from keraslip.rules.resize import TransposedRule, repeated
from keraslip.typing import Shape


def as_row(layer: Any, in_shape: Shape, build: Callable[[Shape], LinearMap]) -> LinearMap:
    """A map of images of one row, built from `(1, steps, channels)`, as one of sequences of a layer."""

    def of_sequences(shape: Shape) -> LinearMap:
        there = ReshapeMap(shape, (1, *shape))
        inner = build(there.target)
        return compose(ReshapeMap(inner.out_shape, inner.out_shape[1:]), compose(inner, there))

    return in_channels_last(layer, in_shape, of_sequences)


@register_rule(keras.layers.Conv1D)
class Conv1DRule(ConvolutionRule):
    """Convolution of a sequence, causal too."""

    def convolution(self, layer: Any, in_shape: Shape, geometry: ConvGeometry) -> LinearMap:
        """The map of images of one row, padded already if it is causal."""
        kernel = ops.expand_dims(full_precision(layer.kernel), 0)
        return ConvMap(kernel, in_shape, replace(geometry, groups=layer.groups))

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        (size,), (stride,), (dilation,) = layer.kernel_size, layer.strides, layer.dilation_rate
        causal = layer.padding == "causal"
        padding = "valid" if causal else layer.padding
        geometry = ConvGeometry((1, stride), padding, (1, dilation))

        def build(shape: Shape) -> LinearMap:
            if not causal:
                return self.convolution(layer, shape, geometry)
            before = ZeroPadMap(shape, ((0, 0), ((size - 1) * dilation, 0), (0, 0)))
            return compose(self.convolution(layer, before.out_shape, geometry), before)

        return as_row(layer, in_shape, build)


@register_rule(keras.layers.DepthwiseConv1D)
class DepthwiseConv1DRule(Conv1DRule):
    """Every channel of a sequence by itself."""

    def convolution(self, layer: Any, in_shape: Shape, geometry: ConvGeometry) -> LinearMap:
        return depthwise(ops.expand_dims(layer.kernel, 0), in_shape, geometry)


@register_rule(keras.layers.SeparableConv1D)
class SeparableConv1DRule(Conv1DRule):
    """Every channel of a sequence by itself, and then a sum over the channels of each step."""

    def convolution(self, layer: Any, in_shape: Shape, geometry: ConvGeometry) -> LinearMap:
        first = depthwise(ops.expand_dims(layer.depthwise_kernel, 0), in_shape, geometry)
        pointwise = ops.expand_dims(full_precision(layer.pointwise_kernel), 0)
        return compose(ConvMap(pointwise, first.out_shape), first)


@register_rule(keras.layers.Conv1DTranspose)
class Conv1DTransposeRule(TransposedRule, Conv1DRule):
    """The adjoint of the convolution from its output to its input."""

    def convolution(self, layer: Any, in_shape: Shape, geometry: ConvGeometry) -> LinearMap:
        _, steps, channels = in_shape
        last = layer.data_format == "channels_last"
        given = (steps, channels) if last else (channels, steps)
        out = layer.compute_output_shape((1, *given))[1 if last else 2]
        kernel = ops.expand_dims(full_precision(layer.kernel), 0)
        return AdjointMap(ConvMap(kernel, (1, out, layer.filters), geometry))


@register_rule(keras.layers.AveragePooling1D)
class AveragePooling1DRule(LinearRule):
    """Means over windows of a sequence."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        size, strides = (1, *layer.pool_size), (1, *layer.strides)
        return as_row(
            layer, in_shape, lambda shape: AveragePoolMap(shape, size, strides, layer.padding)
        )


@register_rule(keras.layers.RepeatVector)
class RepeatVectorRule(LinearRule):
    """A vector at every step."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        row = ReshapeMap(in_shape, (1, *in_shape))
        return compose(repeated(row.out_shape, {0: layer.n}), row)
