"""Rules of dense layers, convolutions, average pooling and input scaling."""

import math
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from keraslip.linear import (
    AveragePoolMap,
    ConvGeometry,
    ConvMap,
    DenseMap,
    DiagonalMap,
    LinearMap,
    MeanMap,
    PermuteMap,
    ReshapeMap,
    compose,
)
from keraslip.rules.bases import LinearRule
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import UnsupportedLayerError, broadcasts
from keraslip.typing import Shape, Tensor


def full_precision(x: Any) -> Tensor:
    """A weight as a tensor of at least float32, whatever the layer computes in."""
    x = ops.convert_to_tensor(x)
    return x if keras.backend.standardize_dtype(x.dtype) == "float64" else ops.cast(x, "float32")


def within(x: Tensor, shape: Shape, what: str) -> Tensor:
    """A tensor that broadcasts to `(1, *shape)`.

    Args:
        x: Any tensor.
        shape: Shape of one input, without the batch axis.
        what: What to call it in the message.

    Raises:
        UnsupportedLayerError: if it would enlarge the input, or differs from sample to sample.
    """
    if not broadcasts(tuple(x.shape), (1, *shape)):
        raise UnsupportedLayerError(
            f"{what} does not have the shape of one input, or one that broadcasts to it. "
            f"Received: {tuple(x.shape)} for an input of shape {shape}"
        )
    return x


def in_channels_last(
    layer: Any, in_shape: Shape, build: Any, keeps_image: bool = True
) -> LinearMap:
    """A map built in channels-last layout, put between permutations if the layer is channels-first.

    Args:
        layer: A layer with `data_format`.
        in_shape: Shape of the layer's input.
        build: Function from the channels-last input shape to a map.
        keeps_image: Whether the map's output has spatial axes to permute back.
    """
    if layer.data_format == "channels_last":
        return build(in_shape)
    rank = len(in_shape)
    to_last = PermuteMap(in_shape, (*range(1, rank), 0))
    inner = build(to_last.out_shape)
    there = compose(inner, to_last)
    back = (rank - 1, *range(rank - 1))
    return compose(PermuteMap(inner.out_shape, back), there) if keeps_image else there


def depthwise(kernel: Any, in_shape: Shape, geometry: ConvGeometry) -> ConvMap:
    """A convolution of every channel by itself, kernel `(height, width, channels, multiplier)`."""
    height, width, channels, multiplier = kernel.shape
    grouped = ops.reshape(full_precision(kernel), (height, width, 1, channels * multiplier))
    return ConvMap(grouped, in_shape, replace(geometry, groups=channels))


@register_rule(keras.layers.Dense)
class DenseRule(LinearRule):
    """`kernel^T x + bias` along the last axis."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        return DenseMap(full_precision(layer.kernel), in_shape)

    def bias(self, layer: Any) -> Tensor | None:
        # Keras' dense layers ask for the bias, its convolutions for `use_bias`.
        return None if layer.bias is None else full_precision(layer.bias)


class ConvolutionRule(LinearRule):
    """Base for convolutions: a number for every filter is added."""

    def bias(self, layer: Any) -> Tensor | None:
        if not layer.use_bias:
            return None
        bias = full_precision(layer.bias)
        last = layer.data_format == "channels_last"
        return bias if last else ops.reshape(bias, (-1, *[1] * len(layer.kernel_size)))


@register_rule(keras.layers.Conv2D)
class Conv2DRule(ConvolutionRule):
    """Convolution of any stride, padding, dilation and number of groups."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        geometry = ConvGeometry(layer.strides, layer.padding, layer.dilation_rate, layer.groups)
        kernel = full_precision(layer.kernel)
        return in_channels_last(layer, in_shape, lambda shape: ConvMap(kernel, shape, geometry))


@register_rule(keras.layers.DepthwiseConv2D)
class DepthwiseConv2DRule(Conv2DRule):
    """Every channel by itself: a group for each, of any multiplier, stride, padding and dilation."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        geometry = ConvGeometry(layer.strides, layer.padding, layer.dilation_rate)
        return in_channels_last(
            layer, in_shape, lambda shape: depthwise(layer.kernel, shape, geometry)
        )


@register_rule(keras.layers.SeparableConv2D)
class SeparableConv2DRule(Conv2DRule):
    """Every channel by itself, and then a sum over the channels of each pixel."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        geometry = ConvGeometry(layer.strides, layer.padding, layer.dilation_rate)

        def build(shape: Shape) -> LinearMap:
            first = depthwise(layer.depthwise_kernel, shape, geometry)
            return compose(ConvMap(full_precision(layer.pointwise_kernel), first.out_shape), first)

        return in_channels_last(layer, in_shape, build)


@register_rule(keras.layers.AveragePooling2D)
class AveragePooling2DRule(LinearRule):
    """Means over windows; overlapping windows included."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        arguments = (layer.pool_size, layer.strides, layer.padding)
        return in_channels_last(layer, in_shape, lambda shape: AveragePoolMap(shape, *arguments))


@register_rule(
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
)
class GlobalAveragePoolingRule(LinearRule):
    """Mean over the image, sequence or volume."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        mean = in_channels_last(layer, in_shape, self._mean, keeps_image=False)
        if not layer.keepdims:
            return mean
        ones = (1,) * (len(in_shape) - 1)
        last = layer.data_format == "channels_last"
        kept = (*ones, *mean.out_shape) if last else (*mean.out_shape, *ones)
        return compose(ReshapeMap(mean.out_shape, kept), mean)

    @staticmethod
    def _mean(shape: Shape) -> LinearMap:
        if len(shape) == 3:
            return MeanMap(shape)
        first, *others, channels = shape
        image = ReshapeMap(shape, (first, math.prod(others), channels))
        return compose(MeanMap(image.target), image)


@register_rule(keras.layers.Rescaling)
class RescalingRule(LinearRule):
    """`scale x + offset`; epsilon stays in the units before it."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        scale = _as_computed(layer, layer.scale)
        rank = len(scale.shape)
        if rank and keras.config.image_data_format() == "channels_first":
            # The layer does so with the scale, and not with the offset.
            scale = ops.reshape(scale, tuple(scale.shape) + (1,) * (3 - rank))
        return DiagonalMap(within(scale, in_shape, "its scale"), in_shape)

    def bias(self, layer: Any) -> Tensor | None:
        return _as_computed(layer, layer.offset)


def _as_computed(layer: Any, x: Any) -> Tensor:
    """Numbers of any type in the one that the layer computes in, at least float32."""
    x = full_precision(x)
    return x if layer.compute_dtype == "float64" else ops.cast(x, "float32")


@register_rule(keras.layers.Normalization)
class NormalizationRule(LinearRule):
    """`(x - mean) / std`, or its inverse; epsilon stays in the units before it."""

    def _constant(self, layer: Any, name: str) -> Tensor:
        """The layer's `mean` or `variance`."""
        held = getattr(layer, name)
        if layer.compute_dtype in ("float32", "float64"):
            return full_precision(held)
        # It has rounded its own copies to what it computes in.
        if layer.input_mean is None:
            return ops.reshape(full_precision(getattr(layer, f"adapt_{name}")), held.shape)
        whole = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
        whole.build(layer.get_build_config()["input_shape"])
        return full_precision(getattr(whole, name))

    def _scale(self, layer: Any) -> Tensor:
        # Keras guards the division by its epsilon; the same floor here gives the same numbers.
        std = ops.maximum(ops.sqrt(self._constant(layer, "variance")), keras.config.epsilon())
        return std if layer.invert else 1.0 / std

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        return DiagonalMap(within(self._scale(layer), in_shape, "its variance"), in_shape)

    def bias(self, layer: Any) -> Tensor | None:
        mean = self._constant(layer, "mean")
        return mean if layer.invert else -mean * self._scale(layer)
