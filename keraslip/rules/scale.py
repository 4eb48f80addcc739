"""Rules of products with constants, of differences and of averages: a scale of a branch, and sums."""

import math
from typing import Any

import keras
from keras import ops

from keraslip.linear import DiagonalMap, ExactScaleMap
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.merge import add, value_at
from keraslip.rules.registry import bare_operation, register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError


def scaled(context: Interpreter, form: Form, scale: Any) -> Form:
    """A branch times numbers that broadcast to its shape: one, or a tensor `(1, ...)`."""
    exact = isinstance(scale, float) and abs(math.frexp(scale)[0]) == 0.5
    kind = ExactScaleMap if exact else DiagonalMap
    return context.linear(form, kind(ops.convert_to_tensor(scale, "float32"), form.shape))


@register_rule(keras.layers.Subtract)
class SubtractRule(Rule):
    """Difference of two branches."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        first, second = args[0]
        return add(context, [first, scaled(context, second, -1.0)])


@register_rule(keras.layers.Average)
class AverageRule(Rule):
    """Mean of branches."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        forms = list(args[0])
        return scaled(context, add(context, forms), 1.0 / len(forms))


@register_rule(bare_operation(lambda x: -x))
class NegativeRule(Rule):
    """A bare `-x`."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return scaled(context, args[0], -1.0)


@register_rule(bare_operation(lambda x: x - 1.0))
class SubtractOperationRule(Rule):
    """A bare `x - y`, of two branches or of a branch and a constant, on either side."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        first, second = [*args, *kwargs.values()]
        if not hasattr(second, "is_form"):
            return context.shift(first, value_at(0.0, operation, first.shape, args, kwargs))
        minus = scaled(context, second, -1.0)
        if hasattr(first, "is_form"):
            return add(context, [first, minus])
        return context.shift(minus, value_at(0.0, operation, second.shape, args, kwargs))


@register_rule(bare_operation(lambda x: x * 2.0))
class MultiplyOperationRule(Rule):
    """A bare `x * c` with a constant, on either side."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        forms = [term for term in (*args, *kwargs.values()) if hasattr(term, "is_form")]
        if len(forms) > 1:
            raise UnsupportedLayerError(
                "The product of two branches has no bound: it is linear in neither. Multiply by a constant, "
                "or add the branches"
            )
        return scaled(context, forms[0], value_at(1.0, operation, forms[0].shape, args, kwargs))


@register_rule(bare_operation(lambda x: x / 2.0), bare_operation(lambda x: ops.divide(x, 2.0)))
class DivideOperationRule(Rule):
    """A bare `x / c` by a constant."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        first, second = [*args, *kwargs.values()]
        if hasattr(second, "is_form"):
            raise UnsupportedLayerError(
                "A division by a branch has no bound: the branch can come near zero. Divide by a constant"
            )
        return scaled(context, first, value_at(1.0, operation, first.shape, args, kwargs))
