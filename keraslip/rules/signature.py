"""What a compiled function of a model was traced from: everything but the values of its variables.

A function that was compiled once holds the layers' settings as they were. Two equal signatures mean that
tracing again would give the same function. Attributes count whether or not a `get_config` shows them: of
layers and what they hold, of functions with their closures and globals, of the settings of the backend.
"""

import functools
import hashlib
import types
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keraslip.rules.code import closure, is_fixed, is_near, members, named
from keraslip.rules.registry import registered_rule
from keraslip.rules.walk import is_graph, nodes

#: Attributes of every layer that say what it computes.
_TELLING = frozenset({"_dtype_policy", "_trainable", "activity_regularizer", "autocast"})
#: Objects that compute nothing of a model's output; the tensors of a graph are known by their place.
_SKIPPED = (
    keras.KerasTensor,
    keras.Initializer,
    keras.optimizers.Optimizer,
    keras.metrics.Metric,
    keras.callbacks.Callback,
)
_PLAIN = (bool, int, str, bytes, type(None))
#: Objects inside objects are followed so far; beyond, they are known by their identity.
_DEPTH = 8

Token = Any


@dataclass(frozen=True, eq=False)
class Signature:
    """Equal to another if nothing was changed in between."""

    tokens: Token  #: What was found, as nested tuples.
    #: Objects that tokens know by their identity, which must not be given to another meanwhile.
    held: tuple[Any, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signature) and self.tokens == other.tokens

    __hash__ = None  # type: ignore[assignment]


def signature(model: Any, *more: Any) -> Signature:
    """The signature of a model, and of other objects that a function depends on."""
    reader = _Reader()
    tokens = tuple(reader.read(part) for part in (settings(), model, *more))
    return Signature(tokens, tuple(reader.held))


def settings() -> dict[str, Any]:
    """What Keras computes with besides a model: the backend and its settings."""
    return {
        "backend": keras.backend.backend(),
        "epsilon": keras.config.epsilon(),
        "floatx": keras.config.floatx(),
        "image_data_format": keras.config.image_data_format(),
    }


class _Reader:
    """Writes objects down as tuples."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.held: list[Any] = []
        self.depth = 0

    def read(self, value: Any) -> Token:
        kind = type(value)
        if kind in _PLAIN:
            return kind, value
        if kind in (float, complex) or isinstance(value, np.generic):
            return kind, repr(value)
        if id(value) in self.seen:
            return "again", self.seen[id(value)]
        self.seen[id(value)] = len(self.seen)
        self.held.append(value)
        self.depth += 1
        try:
            return kind, self._parts(value)
        finally:
            self.depth -= 1

    def _parts(self, value: Any) -> Token:
        if isinstance(value, keras.Variable):
            return id(value), value.trainable, id(value.regularizer), id(value.constraint)
        if isinstance(value, _SKIPPED):
            return ()
        if self.depth > _DEPTH:
            return id(value)
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            return _array(value)
        if isinstance(value, Mapping):
            return tuple((self.read(k), self.read(v)) for k, v in value.items())
        if isinstance(value, list | tuple):
            return tuple(map(self.read, value))
        if isinstance(value, Set):
            return tuple(sorted((self.read(part) for part in value), key=repr))
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return self.read(value.__func__), self.read(value.__self__)
        if isinstance(value, functools.partial):
            return self.read(value.func), self.read(value.args), self.read(value.keywords)
        if isinstance(value, keras.Operation):
            return self._operation(value)
        if isinstance(value, type) and is_near(value):
            return self._class(value)
        if hasattr(value, "__dict__") and not isinstance(value, type | types.ModuleType):
            return self._attributes(vars(value)), self._class(type(value))
        return id(value)

    def _function(self, function: types.FunctionType) -> Token:
        if is_fixed(function):
            return id(function)
        parts = function.__code__, function.__defaults__, function.__kwdefaults__
        held = [*closure(function), *named(function).values()]
        return id(function), tuple(map(self.read, (*parts, *held)))

    def _operation(self, operation: Any) -> Token:
        if is_graph(operation):
            return tuple(
                (
                    self.read(node.operation),
                    self.read((node.arguments.args, node.arguments.kwargs)),
                    self.read(node.outputs),
                )
                for _, node in nodes(operation, "")
            )
        attributes, kind = self._attributes(vars(operation)), self._class(type(operation))
        layers = list(operation._flatten_layers(False, False)) if _has_layers(operation) else []
        return attributes, kind, self.read(layers), self.read(registered_rule(type(operation)))

    def _attributes(self, attributes: Mapping[str, Any]) -> Token:
        return tuple(
            (name, self.read(value))
            for name, value in attributes.items()
            if name not in _bare() and not name.startswith("_self_")
        )

    def _class(self, kind: type) -> Token:
        """What a user's classes say; of the packages' own only which function is called."""
        said = [(name, self.read(value)) for name, value in members(kind)]
        return id(kind), id(getattr(kind, "call", None)), tuple(said)


@functools.cache
def _bare() -> frozenset[str]:
    """Attributes of every layer that say nothing of that: names, the graph, weights by another name."""
    # Not when keraslip is imported: the first layer fixes Keras' dtype policy.
    layer, model = keras.layers.Layer(name="bare"), keras.Model(name="bare")
    return frozenset([*vars(layer), *vars(model)]) - _TELLING


def _has_layers(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Layer) and bool(operation._layers)


def _array(value: Any) -> Token:
    try:
        array = np.asarray(keras.ops.convert_to_numpy(value))
    except Exception:
        # Tensors of a trace that a layer has kept: they hold no value.
        return "symbolic"
    if array.dtype == object:
        return id(value)
    data = array.tobytes()
    return array.shape, str(array.dtype), data if len(data) < 64 else hashlib.sha256(data).digest()
