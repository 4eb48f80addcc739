"""Average pooling of volumes `(depth, height, width, channels)`: of planes, then along the depth."""

from functools import reduce
from typing import Any

import keras

from keraslip.linear import AveragePoolMap, LinearMap, PermuteMap, ReshapeMap, compose
from keraslip.rules.linear import LinearRule, in_channels_last
from keraslip.rules.registry import register_rule
from keraslip.typing import Shape


def _chain(*maps: LinearMap) -> LinearMap:
    """Maps one after the other."""
    return reduce(lambda inner, outer: compose(outer, inner), maps)


@register_rule(keras.layers.AveragePooling3D)
class AveragePooling3DRule(LinearRule):
    """Means over windows of a volume; overlapping windows included."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        return in_channels_last(layer, in_shape, lambda shape: self.pooled(layer, shape))

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
