"""The fingerprint of a network: a hash of what is computed, and of nothing else.

It covers every step as the certifier writes it down, the configuration and weights of every operation of
Keras' graph, constants in calls, and the settings of the backend. Names, initializers, regularizers,
trainable flags, epsilon, warm starts and the place in a run are no part of it, so that a saved and loaded
model keeps it.
"""

import dataclasses
import hashlib
from typing import Any

from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import Node
from keraslip.certify.execution.content import content
from keraslip.rules.signature import settings
from keraslip.rules.walk import Call, fold

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
            known[id(call.operation)] = content(call.operation)
        return content((known[id(call.operation)], call.args, call.kwargs))

    start = content((model.inputs[0].shape[1:], str(model.inputs[0].dtype)))
    return _together(content(settings()), fold(model, start, step))


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
