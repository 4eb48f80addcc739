"""Rules of sums of branches."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.linear import ZeroPadMap
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.registry import bare_operation, register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError, broadcasts
from keraslip.typing import Shape


@register_rule(keras.layers.Add)
class AddRule(Rule):
    """Sum of branches: maps from the same ball are added before they are bounded."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return add(context, list(args[0]))


def add(context: Interpreter, forms: list[Form]) -> Form:
    """The sum of branches.

    Raises:
        UnsupportedLayerError: for branches of several shapes, and constants.
    """
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


@register_rule(bare_operation(lambda x: x + x))
class AddOperationRule(Rule):
    """A bare `x + y` in the graph, of two branches or of a branch and a constant."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        terms = [*args, *kwargs.values()]
        forms = [term for term in terms if hasattr(term, "is_form")]
        if len(forms) == len(terms):
            return add(context, forms)
        return context.shift(forms[0], value_at(0.0, operation, forms[0].shape, args, kwargs))


@register_rule(keras.layers.Concatenate, bare_operation(lambda x: ops.concatenate([x, x])))
class ConcatenateRule(Rule):
    """Branches one after the other: the sum of what each of them puts in its place, and zeros elsewhere."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        forms = list(args[0] if args else kwargs["xs"])
        if not all(hasattr(form, "is_form") for form in forms):
            raise UnsupportedLayerError(
                "a branch and a constant have no rule side by side; pad the branch"
            )
        axis = operation.axis % (len(forms[0].shape) + 1) - 1
        if axis < 0:
            raise UnsupportedLayerError(
                "it joins along the axis of the batch; join along another one"
            )
        return beside(context, forms, axis)


def beside(context: Interpreter, forms: list[Form], axis: int) -> Form:
    """Branches one after the other along an axis, counted without that of the batch."""
    sizes = [form.shape[axis] for form in forms]
    placed, before = [], 0
    for form, size in zip(forms, sizes, strict=True):
        sides = [(0, 0)] * len(form.shape)
        sides[axis] = (before, sum(sizes) - before - size)
        placed.append(context.linear(form, ZeroPadMap(form.shape, tuple(sides))))
        before += size
    return context.add(placed, disjoint=True)


def value_at(value: float, operation: Any, shape: Shape, args: Any, kwargs: Any) -> Any:
    """What an operation on a branch and a constant makes of a branch that is one number, `(1, *shape)`.

    At 0 a sum says what it adds, at 1 a product by what it multiplies. It says so itself: Keras on TensorFlow
    takes a constant with one long axis, as long as that of the channels, for a bias of these, whichever
    axis it is. Two samples, for a batch of one is ambiguous.
    """
    constants = [term for term in (*args, *kwargs.values()) if not hasattr(term, "is_form")]
    shapes = [tuple(getattr(constant, "shape", np.shape(constant))) for constant in constants]
    if not all(broadcasts(found, (1, *shape)) for found in shapes):
        raise UnsupportedLayerError(
            "A constant that enlarges the tensor, or differs from sample to sample, has no rule; give it the "
            f"tensor's shape. Received: {type(operation).__name__} of shapes {shapes} and {shape}"
        )
    full = ops.full((2, *shape), value, "float32")
    positional = [full if hasattr(term, "is_form") else term for term in args]
    named = {k: full if hasattr(term, "is_form") else term for k, term in kwargs.items()}
    return operation(*positional, **named)[:1]
