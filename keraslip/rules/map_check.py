"""The linear maps and activations of a network, and those maps of a user's own held against themselves."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keraslip.linear import LinearMap
from keraslip.linear.contradictions import contradiction, is_known
from keraslip.rules.interpreter import AtInference
from keraslip.rules.registry import registered_rule
from keraslip.rules.rule import MismatchError
from keraslip.rules.walk import visits, walk


class Parts(AtInference):
    """Notes the maps and activations of a network, on its way through the rules.

    Attributes:
        maps: Path of the layer and its map, for every call.
        activations: Path, activation and shape of its input, for every call.
    """

    key = ""

    def __init__(self, look: Callable[[LinearMap], None] | None = None) -> None:
        self._look = look
        self.maps: list[tuple[str, LinearMap]] = []
        self.activations: list[tuple[str, Any, tuple[int, ...]]] = []

    def linear(self, form: Any, linear_map: LinearMap, bias: Any = None) -> Any:
        if self._look is not None:
            self._look(linear_map)
        self.maps.append((self.key, linear_map))
        return _Shape(linear_map.out_shape)

    def activate(self, form: Any, activation: Any) -> Any:
        self.activations.append((self.key, activation, form.shape))
        return form

    def add(self, forms: list[Any], disjoint: bool = False) -> Any:
        return forms[0]

    def shift(self, form: Any, constant: Any) -> Any:
        return form


class _Shape:
    """All that a rule may read of a form."""

    is_form = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)


def parts(model: Any, look: Callable[[LinearMap], None] | None = None) -> Parts:
    """The linear maps and activations of a model, by the path of the layer; each map is shown to `look`."""
    found = Parts(look)
    walk(model, _Shape(model.inputs[0].shape[1:]), found)
    return found


def check_maps(model: Any) -> None:
    """Raises a MismatchError for a map that is not linear, or whose adjoint or bounds are wrong."""
    rules = (registered_rule(type(visit.operation)) for visit in visits(model))
    # The maps of keraslip's own rules are judged by its tests.
    if any(rule is not None and not _is_ours(rule) for rule in rules):
        parts(model, _check)


def _is_ours(rule: Any) -> bool:
    return type(rule).__module__.split(".")[0] == "keraslip"


def _check(linear_map: LinearMap) -> None:
    if is_known(linear_map):
        return
    if (problem := contradiction(linear_map, np.random.default_rng(0))) is not None:
        raise MismatchError(
            f"its linear map {type(linear_map).__name__} is not believed: {problem}. Remedy: correct the "
            "map; keraslip.testing.check_map shows where it is wrong"
        )
