"""Rules of layers on sequences `(steps, channels)`: those of images of one row."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keraslip.linear import (
    AveragePoolMap,
    ConvGeometry,
    ConvMap,
    CropMap,
    LinearMap,
    MeanMap,
    PermuteMap,
    ReshapeMap,
    ZeroPadMap,
    compose,
)
from keraslip.rules.linear import LinearRule, full_precision
from keraslip.rules.registry import register_rule
from keraslip.rules.resize import repeated
from keraslip.rules.shape import MovingRule

Tensor = Any
Shape = tuple[int, ...]


def as_row(layer: Any, in_shape: Shape, build: Callable[[Shape], LinearMap]) -> LinearMap:
    """A map of images of one row, as one of sequences.

    Args:
        layer: A layer on sequences, with or without `data_format`.
        in_shape: Shape of the layer's input.
        build: From `(1, steps, channels)` to the map.
    """
    last = getattr(layer, "data_format", "channels_last") == "channels_last"
    steps, channels = in_shape if last else reversed(in_shape)
    inner = build((1, steps, channels))
    out = inner.out_shape[-2:] if len(inner.out_shape) == 3 else inner.out_shape
    there = ReshapeMap((steps, channels), (1, steps, channels))
    whole = compose(ReshapeMap(inner.out_shape, out), compose(inner, there))
    if last:
        return whole
    whole = compose(whole, PermuteMap(in_shape, (1, 0)))
    return compose(PermuteMap(out, (1, 0)), whole) if len(out) == 2 else whole


@register_rule(keras.layers.Conv1D)
class Conv1DRule(LinearRule):
    """Convolution of a sequence, causal too."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        kernel = ops.expand_dims(full_precision(layer.kernel), 0)
        (size,), (stride,), (dilation,) = layer.kernel_size, layer.strides, layer.dilation_rate
        causal = layer.padding == "causal"
        padding = "valid" if causal else layer.padding
        geometry = ConvGeometry((1, stride), padding, (1, dilation), layer.groups)

        def build(shape: Shape) -> LinearMap:
            if not causal:
                return ConvMap(kernel, shape, geometry)
            before = ZeroPadMap(shape, ((0, 0), ((size - 1) * dilation, 0), (0, 0)))
            return compose(ConvMap(kernel, before.out_shape, geometry), before)

        return as_row(layer, in_shape, build)

    def bias(self, layer: Any) -> Tensor | None:
        if not layer.use_bias:
            return None
        bias = full_precision(layer.bias)
        return bias if layer.data_format == "channels_last" else ops.reshape(bias, (-1, 1))


@register_rule(keras.layers.AveragePooling1D)
class AveragePooling1DRule(LinearRule):
    """Means over windows of a sequence."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        size, strides = ((1, *_one(number)) for number in (layer.pool_size, layer.strides))
        return as_row(
            layer, in_shape, lambda shape: AveragePoolMap(shape, size, strides, layer.padding)
        )


@register_rule(keras.layers.GlobalAveragePooling1D)
class GlobalAveragePooling1DRule(LinearRule):
    """Mean over the steps."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        mean = as_row(layer, in_shape, MeanMap)
        if not layer.keepdims:
            return mean
        channels = mean.out_shape[-1]
        last = layer.data_format == "channels_last"
        return compose(ReshapeMap(mean.out_shape, (1, channels) if last else (channels, 1)), mean)


@register_rule(keras.layers.ZeroPadding1D)
class ZeroPadding1DRule(MovingRule):
    """Zeros before and after a sequence."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        steps = tuple(layer.padding)
        last = layer.data_format == "channels_last"
        return ZeroPadMap(in_shape, (steps, (0, 0)) if last else ((0, 0), steps))


@register_rule(keras.layers.Cropping1D)
class Cropping1DRule(MovingRule):
    """Steps cut off."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        return CropMap(in_shape, (tuple(layer.cropping), (0, 0)))


@register_rule(keras.layers.UpSampling1D)
class UpSampling1DRule(LinearRule):
    """Every step repeated."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        return repeated(in_shape, {0: _one(layer.size)[0]})


def _one(number: Any) -> tuple[int]:
    """A number that a layer may hold as a tuple of one."""
    return (number[0] if isinstance(number, tuple | list) else number,)
