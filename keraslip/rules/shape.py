"""Rules of layers that only move entries."""

import math
from typing import Any

import keras

from keraslip.linear import CropMap, LinearMap, PermuteMap, ReshapeMap, ZeroPadMap, compose
from keraslip.rules.bases import LinearRule
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import Rule
from keraslip.typing import Shape


class MovingRule(LinearRule):
    """Base for layers that move entries: a closed ball stays closed."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return context.move(args[0], self.linear_map(operation, args[0].shape))


@register_rule(keras.layers.Flatten)
class FlattenRule(MovingRule):
    """Flatten; channels-first inputs are brought to channels-last order first, as Keras does."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        flat = (math.prod(in_shape),)
        if layer.data_format == "channels_first" and len(in_shape) > 1:
            to_last = PermuteMap(in_shape, (*range(1, len(in_shape)), 0))
            return compose(ReshapeMap(to_last.out_shape, flat), to_last)
        return ReshapeMap(in_shape, flat)


@register_rule(keras.layers.Reshape)
class ReshapeRule(MovingRule):
    """Row-major reshape."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        target = list(layer.target_shape)
        if -1 in target:
            known = math.prod(size for size in target if size != -1)
            target[target.index(-1)] = math.prod(in_shape) // known
        return ReshapeMap(in_shape, tuple(target))


@register_rule(keras.layers.Permute)
class PermuteRule(MovingRule):
    """Permutation of axes."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        return PermuteMap(in_shape, tuple(axis - 1 for axis in layer.dims))


def sides(layer: Any, given: Any) -> tuple[tuple[int, int], ...]:
    """Numbers before and after the entries of every axis, from those of the positions: none of channels."""
    pairs = (given,) if isinstance(given[0], int) else given
    image = tuple(tuple(pair) for pair in pairs)
    last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return (*image, (0, 0)) if last else ((0, 0), *image)


@register_rule(keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D)
class ZeroPaddingRule(MovingRule):
    """Zeros around the image, or before and after the sequence: constant units."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        return ZeroPadMap(in_shape, sides(layer, layer.padding))


@register_rule(keras.layers.Cropping1D, keras.layers.Cropping2D)
class CroppingRule(MovingRule):
    """Rows and columns, or steps, cut off."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        return CropMap(in_shape, sides(layer, layer.cropping))


@register_rule(keras.layers.InputLayer)
class InputRule(Rule):
    """The model's input; the walk starts here."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return args[0]
