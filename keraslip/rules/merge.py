"""Rules of sums of branches."""

from typing import Any

import keras

from keraslip.bounds.ball import AffineForm, add_forms
from keraslip.rules.propagation import Propagation
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError


@register_rule(keras.layers.Add)
class AddRule(Rule):
    """Sum of branches: maps from the same ball are added before they are bounded."""

    def propagate(
        self, operation: Any, context: Propagation, *args: Any, **kwargs: Any
    ) -> AffineForm:
        return _add(list(args[0]))


def _add(forms: list[AffineForm]) -> AffineForm:
    shapes = {form.shape for form in forms}
    if len(shapes) != 1:
        raise UnsupportedLayerError(
            f"A sum whose branches are broadcast has no rule; give them one shape. Received: {shapes}"
        )
    center = forms[0].center
    for form in forms[1:]:
        center = center + form.center
    return add_forms(center, forms)


def _add_operation() -> type:
    # A bare `x + y` in a graph: its class has no public name, a symbolic sum shows it.
    x = keras.KerasTensor((None, 1))
    return type((x + x)._keras_history.operation)


@register_rule(_add_operation())
class AddOperationRule(Rule):
    """A bare `x + y` in the graph, of two branches or of a branch and a constant."""

    def propagate(
        self, operation: Any, context: Propagation, *args: Any, **kwargs: Any
    ) -> AffineForm:
        terms = [*args, *kwargs.values()]
        forms = [term for term in terms if isinstance(term, AffineForm)]
        if len(forms) == len(terms):
            return _add(forms)
        constants = [term for term in terms if not isinstance(term, AffineForm)]
        center = forms[0].center + constants[0]
        if tuple(center.shape[1:]) != forms[0].shape:
            raise UnsupportedLayerError(
                "A sum with a constant that enlarges the tensor has no rule; give the constant the "
                f"tensor's shape. Received: {forms[0].shape} -> {tuple(center.shape[1:])}"
            )
        return forms[0].shifted(center)
