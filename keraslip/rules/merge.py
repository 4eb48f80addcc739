"""Rules of sums of branches."""

from typing import Any

import keras

from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError


@register_rule(keras.layers.Add)
class AddRule(Rule):
    """Sum of branches: maps from the same ball are added before they are bounded."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return _add(context, list(args[0]))


def _add(context: Interpreter, forms: list[Form]) -> Form:
    shapes = {form.shape for form in forms}
    if len(shapes) != 1:
        raise UnsupportedLayerError(
            f"A sum whose branches are broadcast has no rule; give them one shape. Received: {shapes}"
        )
    return context.add(forms)


def _add_operation() -> type:
    # A bare `x + y` in a graph: its class has no public name, a symbolic sum shows it.
    x = keras.KerasTensor((None, 1))
    return type((x + x)._keras_history.operation)


@register_rule(_add_operation())
class AddOperationRule(Rule):
    """A bare `x + y` in the graph, of two branches or of a branch and a constant."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        terms = [*args, *kwargs.values()]
        forms = [term for term in terms if hasattr(term, "is_form")]
        if len(forms) == len(terms):
            return _add(context, forms)
        constant = next(term for term in terms if not hasattr(term, "is_form"))
        shape = keras.KerasTensor((1, *forms[0].shape)) + constant
        if tuple(shape.shape[1:]) != forms[0].shape:
            raise UnsupportedLayerError(
                "A sum with a constant that enlarges the tensor has no rule; give the constant the "
                f"tensor's shape. Received: {forms[0].shape} -> {tuple(shape.shape[1:])}"
            )
        return context.shift(forms[0], constant)
