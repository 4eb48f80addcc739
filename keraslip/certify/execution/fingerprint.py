"""The fingerprint of a network: a hash of what is computed, and of nothing else.

It covers every step as the certifier writes it down, the configuration and weights of every operation of
Keras' graph, constants in calls, and the settings of the backend. Names, initializers, regularizers,
trainable flags, epsilon, warm starts and the place in a run are no part of it, so that a saved and loaded
model keeps it.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import keras

from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import Node
from keraslip.certify.execution.content import code_of, content
from keraslip.rules.signature import settings
from keraslip.rules.walk import Call, fold

#: Arguments of layers that say nothing of what they compute; the type they compute in is looked up.
_LEFT_OUT = ("name", "trainable", "dtype", "seed", "activity_regularizer")
_LEFT_OUT_ENDS = ("_initializer", "_regularizer", "_constraint")
#: Fields of every step that follow from the others, or only name it.
_DERIVED = ("index", "name", "sources", "terms")


def fingerprint(model: Any, network: Network) -> str:
    """The fingerprint of a model whose steps these are, as hexadecimal SHA-256."""
    return _together(graph_fingerprint(model), _steps(network))


def graph_fingerprint(model: Any) -> str:
    """The part that any Keras graph has; it does not need the certifier's rules."""
    known: dict[int, str] = {}

    def step(call: Call) -> str:
        if id(call.operation) not in known:
            known[id(call.operation)] = _operation(call.operation)
        return content((known[id(call.operation)], call.args, call.kwargs))

    start = content((model.inputs[0].shape[1:], str(model.inputs[0].dtype)))
    return _together(content(settings()), fold(model, start, step))


def _operation(operation: Any) -> str:
    weights = list(getattr(operation, "weights", []))
    types = [getattr(operation, name, None) for name in ("compute_dtype", "variable_dtype")]
    name = keras.saving.get_registered_name(type(operation))
    # A layer of the user's own is what its code says, too.
    own = code_of(type(operation))
    return content((name, types, _config(operation), weights, *([own] if own else [])))


def _config(operation: Any) -> Any:
    try:
        config = operation.get_config()
    except NotImplementedError:
        # A layer of the user's that cannot be saved.
        config = {key: value for key, value in vars(operation).items() if key[0] != "_"}
    return _without_names(config)


def _without_names(config: Any) -> Any:
    """A configuration without what computes nothing; layers inside layers included."""
    if isinstance(config, list | tuple):
        return [_without_names(entry) for entry in config]
    if not isinstance(config, Mapping):
        return config
    return {
        key: _without_names(value)
        for key, value in config.items()
        if key not in _LEFT_OUT and not str(key).endswith(_LEFT_OUT_ENDS)
    }


def _steps(network: Network) -> str:
    """The certifier's steps; each stands for all before it, so that their order does not count."""
    known: dict[int, str] = {}
    for node in network.nodes:
        known[node.index] = content((_step(node), [known[s.index] for s in node.sources]))
    return known[network.logits.index]


def _step(node: Node) -> tuple[str, dict[str, Any]]:
    fields = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
    return type(node).__name__, {k: v for k, v in fields.items() if k not in _DERIVED}


def _together(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()
