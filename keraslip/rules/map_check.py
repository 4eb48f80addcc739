"""Linear maps of a user's own are held against themselves before anything rests on them."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from keraslip.linear import LinearMap
from keraslip.linear.contradictions import contradiction, is_known
from keraslip.rules.registry import registered_rule
from keraslip.rules.rule import MismatchError
from keraslip.rules.walk import visits, walk


def check_maps(model: Any) -> None:
    """Raises for a linear map that is no linear map, or whose adjoint or bounds are wrong.

    Args:
        model: A functional Keras model, all of whose layers have rules.

    Raises:
        MismatchError: naming the layer, and what is wrong with its map.
    """
    rules = (registered_rule(type(visit.operation)) for visit in visits(model))
    # The maps of keraslip's own rules are judged by its tests.
    if any(rule is not None and not _is_ours(rule) for rule in rules):
        walk(model, _Shaped(tuple(model.inputs[0].shape[1:])), _MapCheck())


def _is_ours(rule: Any) -> bool:
    return type(rule).__module__.split(".")[0] == "keraslip"


@dataclass(frozen=True, eq=False)
class _Shaped:
    """A tensor of which the shape is known."""

    shape: tuple[int, ...]
    is_form: ClassVar[bool] = True


class _MapCheck:
    """A `keraslip.rules.interpreter.Interpreter` that looks at maps alone."""

    training = False

    def __init__(self) -> None:
        self.key = ""

    def linear(self, form: Any, linear_map: LinearMap, bias: Any = None) -> Any:
        """See `Interpreter`."""
        rng = np.random.default_rng(0)
        problem = None if is_known(linear_map) else contradiction(linear_map, rng)
        if problem is not None:
            raise MismatchError(
                f"its linear map {type(linear_map).__name__} is not believed: {problem}. Remedy: correct the "
                "map; keraslip.testing.check_map shows where it is wrong"
            )
        return _Shaped(tuple(linear_map.out_shape))

    def move(self, form: Any, linear_map: LinearMap) -> Any:
        """See `Interpreter`."""
        return self.linear(form, linear_map)

    def activate(self, form: Any, activation: Any) -> Any:
        """See `Interpreter`."""
        return form

    def add(self, forms: list[Any], disjoint: bool = False) -> Any:
        """See `Interpreter`."""
        return forms[0]

    def shift(self, form: Any, constant: Any) -> Any:
        """See `Interpreter`."""
        return form

    def dropout(self, form: Any, drawn: Any) -> Any:
        """See `Interpreter`."""
        return form

    def noise(self, form: Any, layer: Any, of_inputs: bool) -> Any:
        """See `Interpreter`."""
        return form

    def statistics(self, form: Any, layer: Any) -> None:
        """See `Interpreter`."""
