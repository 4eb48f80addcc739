"""Average pooling of volumes `(depth, height, width, channels)`: of planes, then along the depth."""

from functools import reduce
from typing import Any

import keras

from keraslip.linear import AveragePoolMap, LinearMap, MeanMap, PermuteMap, ReshapeMap, compose
from keraslip.rules.linear import LinearRule
from keraslip.rules.registry import register_rule
from keraslip.typing import Shape


def _chain(*maps: LinearMap) -> LinearMap:
    """Maps one after the other."""
    return reduce(lambda inner, outer: compose(outer, inner), maps)


@register_rule(keras.layers.AveragePooling3D)
class AveragePooling3DRule(LinearRule):
    """Means over windows of a volume; overlapping windows included."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        if layer.data_format == "channels_last":
            return self.pooled(layer, in_shape)
        first = PermuteMap(in_shape, (1, 2, 3, 0))
        inner = self.pooled(layer, first.out_shape)
        return _chain(first, inner, PermuteMap(inner.out_shape, (3, 0, 1, 2)))

    def pooled(self, layer: Any, in_shape: Shape) -> LinearMap:
        """The map of volumes whose channels are last."""
        (deep, *size), (step, *strides) = layer.pool_size, layer.strides
        depth, height, width, channels = in_shape
        turned = PermuteMap(in_shape, (1, 2, 0, 3))
        merged = ReshapeMap(turned.out_shape, (height, width, depth * channels))
        planes = AveragePoolMap(merged.target, tuple(size), tuple(strides), layer.padding)
        height, width, _ = planes.out_shape
        parted = ReshapeMap(planes.out_shape, (height, width, depth, channels))
        back = PermuteMap(parted.target, (2, 0, 1, 3))
        columns = ReshapeMap(back.out_shape, (depth, height * width, channels))
        along = AveragePoolMap(columns.target, (deep, 1), (step, 1), layer.padding)
        whole = ReshapeMap(along.out_shape, (along.out_shape[0], height, width, channels))
        return _chain(turned, merged, planes, parted, back, columns, along, whole)


@register_rule(keras.layers.GlobalAveragePooling3D)
class GlobalAveragePooling3DRule(LinearRule):
    """Mean over the volume."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        last = layer.data_format == "channels_last"
        first = PermuteMap(in_shape, (0, 1, 2, 3) if last else (1, 2, 3, 0))
        depth, height, width, channels = first.out_shape
        flat = ReshapeMap(first.out_shape, (depth, height * width, channels))
        mean = _chain(first, flat, MeanMap(flat.target))
        if not layer.keepdims:
            return mean
        kept = (1, 1, 1, channels) if last else (channels, 1, 1, 1)
        return _chain(mean, ReshapeMap((channels,), kept))
