"""Rules of sums of branches."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.linear import ReshapeMap, TakeMap, ZeroPadMap
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
    """The sum of branches of one shape."""
    if not all(hasattr(form, "is_form") for form in forms):
        raise UnsupportedLayerError(
            "An Add layer of a branch and a constant has no rule; write x + c"
        )
    shapes = [form.shape for form in forms]
    if len({len(shape) for shape in shapes}) != 1:
        raise UnsupportedLayerError(
            f"A sum of branches with several numbers of axes has no rule; reshape one. Received: {shapes}"
        )
    whole = tuple(np.broadcast_shapes(*shapes))
    return context.add([spread(context, form, whole) for form in forms])


def spread(context: Interpreter, form: Form, shape: Shape) -> Form:
    """A branch whose axes of one entry are repeated up to a shape."""
    if form.shape == shape:
        return form
    sizes = zip(form.shape, shape, strict=True)
    places = tuple(None if here == there else (0,) * there for here, there in sizes)
    return context.linear(form, TakeMap(form.shape, places))


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
        forms = checked_branches(args[0] if args else kwargs["xs"])
        axis = operation.axis % (len(forms[0].shape) + 1) - 1
        _check_axis(axis)
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


@register_rule(bare_operation(lambda x: ops.stack([x, x], axis=1)))
class StackRule(Rule):
    """`ops.stack` of branches: side by side along an axis of its own."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        forms = checked_branches(args[0] if args else kwargs["x"])
        return stacked(context, forms, operation.axis % (len(forms[0].shape) + 2) - 1)


def stacked(context: Interpreter, forms: list[Form], axis: int) -> Form:
    """Branches of one shape along a new axis, counted without that of the batch."""
    (shape,) = {form.shape for form in forms}
    _check_axis(axis)
    deep = (*shape[:axis], 1, *shape[axis:])
    return beside(context, [context.move(form, ReshapeMap(shape, deep)) for form in forms], axis)


def checked_branches(given: Any) -> list[Form]:
    """The branches that are joined.

    Raises:
        UnsupportedLayerError: if one of them is a constant.
    """
    forms = list(given)
    if not all(hasattr(form, "is_form") for form in forms):
        raise UnsupportedLayerError(
            "a branch and a constant have no rule side by side; pad the branch"
        )
    return forms


def _check_axis(axis: int) -> None:
    if axis < 0:
        raise UnsupportedLayerError("it joins along the axis of the batch; join along another one")


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
