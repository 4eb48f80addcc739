"""Rules of maxima and minima: of branches, and of a branch and a number."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.activations import Activation, ClippedReLU, Largest, PiecewiseLinear
from keraslip.linear import CropMap, ReshapeMap
from keraslip.rules.bases import ActivationRule
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.merge import stacked
from keraslip.rules.registry import bare_operation, register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError


def clip(low: Any, high: Any) -> Activation:
    """`min(max(z, low), high)`, either of them `None` for none."""
    given = low, high
    if not all(np.ndim(end) == 0 for end in given):
        raise UnsupportedLayerError(
            f"a clip has a rule for numbers, not for tensors. Received: {given}"
        )
    low, high = (None if end is None else float(end) for end in given)
    if low == 0.0 and high is None:
        return ClippedReLU()
    ends = [end for end in (low, high) if end is not None]
    if ends != sorted(set(ends)):
        raise UnsupportedLayerError(
            f"a clip has a rule for one number below and a larger one above. Received: {given}"
        )
    gradients = ([0.0] if low is not None else []) + [1.0] + ([0.0] if high is not None else [])
    at_zero = 0.0 if low is None else max(0.0, low)
    at_zero = at_zero if high is None else min(at_zero, high)
    return PiecewiseLinear(tuple(map(float, ends)), tuple(gradients), float(at_zero))


@register_rule(bare_operation(lambda x: ops.clip(x, 0.0, 1.0)))
class ClipRule(ActivationRule):
    """`ops.clip`."""

    def kind(self, layer: Any) -> Activation:
        return clip(layer.x_min, layer.x_max)


def largest(context: Interpreter, forms: list[Form], sign: float) -> Form:
    """The largest of some branches, entry by entry; with the sign -1 the smallest."""
    shapes = {form.shape for form in forms}
    if len(shapes) != 1:
        raise UnsupportedLayerError(f"branches of several shapes have no rule. Received: {shapes}")
    (shape,) = shapes
    deep = (*shape, 1)
    form = stacked(context, forms, len(shape))
    first = CropMap(form.shape, (*[(0, 0)] * len(shape), (0, len(forms) - 1)))
    form = context.move(context.activate(form, Largest(sign)), first)
    return context.move(form, ReshapeMap(deep, shape))


class ExtremeRule(Rule):
    """Base of maxima and minima."""

    sign = 1.0

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        terms = [*args, *kwargs.values()]
        terms = list(terms[0]) if isinstance(terms[0], list | tuple) else terms
        forms = [term for term in terms if hasattr(term, "is_form")]
        if len(forms) == len(terms):
            return largest(context, forms, self.sign)
        (number,) = (term for term in terms if not hasattr(term, "is_form"))
        ends = (number, None) if self.sign > 0.0 else (None, number)
        return context.activate(forms[0], clip(*ends))


@register_rule(keras.layers.Maximum, bare_operation(lambda x: ops.maximum(x, 0.0)))
class MaximumRule(ExtremeRule):
    """`Maximum()([x, y])`, `ops.maximum(x, y)` and `ops.maximum(x, 0)`."""


@register_rule(keras.layers.Minimum, bare_operation(lambda x: ops.minimum(x, 0.0)))
class MinimumRule(ExtremeRule):
    """`Minimum()([x, y])`, `ops.minimum(x, y)` and `ops.minimum(x, 6)`."""

    sign = -1.0
