"""Rules of layers that only move entries."""

import math
from typing import Any

import keras

from keraslip.linear import LinearMap, PermuteMap, ReshapeMap, ZeroPadMap, compose
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


@register_rule(keras.layers.ZeroPadding2D)
class ZeroPadding2DRule(MovingRule):
    """Zeros around the image: constant units."""

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        image = tuple(tuple(sides) for sides in layer.padding)
        last = layer.data_format == "channels_last"
        return ZeroPadMap(in_shape, (*image, (0, 0)) if last else ((0, 0), *image))


@register_rule(keras.layers.InputLayer)
class InputRule(Rule):
    """The model's input; the walk starts here."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return args[0]
