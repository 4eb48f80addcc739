"""Rules of sums of branches."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError, broadcasts

Shape = tuple[int, ...]


@register_rule(keras.layers.Add)
class AddRule(Rule):
    """Sum of branches: maps from the same ball are added before they are bounded."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return _add(context, list(args[0]))


def _add(context: Interpreter, forms: list[Form]) -> Form:
    if not all(hasattr(form, "is_form") for form in forms):
        raise UnsupportedLayerError(
            "An Add layer of a branch and a constant has no rule; write x + c"
        )
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
        return context.shift(forms[0], _constant(operation, forms[0].shape, args, kwargs))


def _constant(operation: Any, shape: Shape, args: Any, kwargs: Any) -> Any:
    """What a sum adds to each sample, `(1, *shape)`.

    The sum itself says so: Keras on TensorFlow takes a constant with one long axis, as long as that of the
    channels, for a bias of the channels, whichever axis it is. Two samples, for a batch of one is ambiguous.
    """
    constants = [term for term in (*args, *kwargs.values()) if not hasattr(term, "is_form")]
    shapes = [tuple(getattr(constant, "shape", np.shape(constant))) for constant in constants]
    if not all(broadcasts(found, (1, *shape)) for found in shapes):
        raise UnsupportedLayerError(
            "A sum with a constant that enlarges the tensor, or differs from sample to sample, has no rule; "
            f"give the constant the tensor's shape. Received: {shapes} added to {shape}"
        )
    zeros = ops.zeros((2, *shape), "float32")
    added = [zeros if hasattr(term, "is_form") else term for term in args]
    named = {k: zeros if hasattr(term, "is_form") else term for k, term in kwargs.items()}
    return operation(*added, **named)[:1]
