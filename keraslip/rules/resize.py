"""Rules of layers that make an image or a sequence larger: upsampling, transposed convolutions."""

from typing import Any

import keras

from keraslip.linear import AdjointMap, ConvGeometry, ConvMap, LinearMap, TakeMap
from keraslip.rules.bases import LinearRule
from keraslip.rules.linear import ConvolutionRule, full_precision, in_channels_last
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import UnsupportedLayerError
from keraslip.typing import Shape


def repeated(in_shape: Shape, times: dict[int, int]) -> TakeMap:
    """The entries of some axes so many times each, by axis."""
    places = (
        tuple(place for place in range(size) for _ in range(times[axis])) if axis in times else None
        for axis, size in enumerate(in_shape)
    )
    return TakeMap(in_shape, tuple(places))


@register_rule(keras.layers.UpSampling1D, keras.layers.UpSampling2D)
class UpSamplingRule(LinearRule):
    """Nearest-neighbour upsampling."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        if getattr(operation, "interpolation", "nearest") != "nearest":
            raise UnsupportedLayerError(
                'upsampling has a rule for interpolation="nearest" alone; use that, or Conv2DTranspose. '
                f"Received: interpolation={operation.interpolation!r}"
            )

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        first = 1 if getattr(layer, "data_format", None) == "channels_first" else 0
        times = layer.size if isinstance(layer.size, tuple) else (layer.size,)
        return repeated(in_shape, dict(enumerate(times, first)))


class TransposedRule(ConvolutionRule):
    """Base for transposed convolutions."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        if operation.output_padding is not None:
            raise UnsupportedLayerError(
                "a transposed convolution has a rule where it is the adjoint of a convolution; leave "
                f"output_padding out. Received: output_padding={operation.output_padding!r}"
            )


@register_rule(keras.layers.Conv2DTranspose)
class Conv2DTransposeRule(TransposedRule):
    """The adjoint of the convolution from its output to its input."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        geometry = ConvGeometry(layer.strides, layer.padding, layer.dilation_rate)
        kernel = full_precision(layer.kernel)
        out = tuple(layer.compute_output_shape((1, *in_shape))[1:])
        image = out[:2] if layer.data_format == "channels_last" else out[1:]
        back = ConvMap(kernel, (*image, layer.filters), geometry)
        return in_channels_last(layer, in_shape, lambda shape: AdjointMap(back))
