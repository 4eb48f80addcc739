"""The linear maps and activations of a network, as its rules name them."""

from typing import Any

import keras

from keraslip.linear import LinearMap
from keraslip.rules.walk import walk


class Parts:
    """Notes the maps and activations of a network, on its way through the rules.

    Attributes:
        maps: Path of the layer and its map, for every call.
        activations: Path, activation and shape of its input, for every call.
    """

    key = ""
    training = False

    def __init__(self) -> None:
        self.maps: list[tuple[str, LinearMap]] = []
        self.activations: list[tuple[str, Any, tuple[int, ...]]] = []

    def linear(self, form: Any, linear_map: LinearMap, bias: Any = None) -> Any:
        self.maps.append((self.key, linear_map))
        return _Shape(linear_map.out_shape)

    def move(self, form: Any, linear_map: LinearMap) -> Any:
        return self.linear(form, linear_map)

    def activate(self, form: Any, activation: Any) -> Any:
        self.activations.append((self.key, activation, form.shape))
        return form

    def add(self, forms: list[Any], disjoint: bool = False) -> Any:
        return forms[0]

    def shift(self, form: Any, constant: Any) -> Any:
        return form

    def dropout(self, form: Any, drawn: Any) -> Any:
        return form

    def noise(self, form: Any, layer: Any, of_inputs: bool) -> Any:
        return form

    def statistics(self, form: Any, layer: Any) -> None:
        return None


class _Shape:
    """All that a rule may read of a form."""

    is_form = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)


def parts(model: keras.Model) -> Parts:
    """The linear maps and activations of a model, by the path of the layer."""
    found = Parts()
    walk(model, _Shape(model.inputs[0].shape[1:]), found)
    return found
