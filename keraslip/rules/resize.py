"""Rules of layers that change the size of an image: cropping, upsampling, transposed convolutions."""

from typing import Any

import keras

from keraslip.linear import AdjointMap, ConvGeometry, ConvMap, CropMap, LinearMap, TakeMap
from keraslip.rules.bases import LinearRule
from keraslip.rules.linear import Conv2DRule, full_precision, in_channels_last
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import UnsupportedLayerError
from keraslip.rules.shape import MovingRule
from keraslip.typing import Shape


@register_rule(keras.layers.Cropping2D)
class Cropping2DRule(MovingRule):
    """Rows and columns cut off."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        image = tuple(tuple(sides) for sides in layer.cropping)
        last = layer.data_format == "channels_last"
        return CropMap(in_shape, (*image, (0, 0)) if last else ((0, 0), *image))


def repeated(in_shape: Shape, times: dict[int, int]) -> TakeMap:
    """The entries of some axes so many times each, by axis."""
    places = (
        tuple(place for place in range(size) for _ in range(times[axis])) if axis in times else None
        for axis, size in enumerate(in_shape)
    )
    return TakeMap(in_shape, tuple(places))


@register_rule(keras.layers.UpSampling2D)
class UpSampling2DRule(LinearRule):
    """Nearest-neighbour upsampling."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        if operation.interpolation != "nearest":
            raise UnsupportedLayerError(
                'upsampling has a rule for interpolation="nearest" alone; use that, or Conv2DTranspose. '
                f"Received: interpolation={operation.interpolation!r}"
            )

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        down, across = layer.size
        first = 0 if layer.data_format == "channels_last" else 1
        return repeated(in_shape, {first: down, first + 1: across})


def check_adjoint(layer: Any) -> None:
    """Raises for a transposed convolution that is not the adjoint of a convolution."""
    if layer.output_padding is not None:
        raise UnsupportedLayerError(
            "a transposed convolution has a rule where it is the adjoint of a convolution; leave "
            f"output_padding out. Received: output_padding={layer.output_padding!r}"
        )


@register_rule(keras.layers.Conv2DTranspose)
class Conv2DTransposeRule(Conv2DRule):
    """The adjoint of the convolution from its output to its input."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        check_adjoint(operation)

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        geometry = ConvGeometry(layer.strides, layer.padding, layer.dilation_rate)
        kernel = full_precision(layer.kernel)
        out = tuple(layer.compute_output_shape((1, *in_shape))[1:])
        image = out[:2] if layer.data_format == "channels_last" else out[1:]

        back = ConvMap(kernel, (*image, layer.filters), geometry)
        return in_channels_last(layer, in_shape, lambda shape: AdjointMap(back))
