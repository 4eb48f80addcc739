"""The network as the certifier sees it: steps in float64 NumPy, apart from every backend."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from keras import tree

from keraslip.certify.bound.nodes import ActivationNode, Node
from keraslip.certify.bound.trace import Trace
from keraslip.certify.norms.rounding import UNIT64, gamma, l2, up
from keraslip.certify.operators import Differences, Proved
from keraslip.lockless import cached_property
from keraslip.rules.walk import Call, carried, fold


@dataclass(frozen=True, eq=False)
class Visited:
    """A call of an operation, with steps for tensors, and the step whose output is the operation's."""

    call: Call
    node: Node

    @property
    def sources(self) -> list[Node]:
        """The steps that it reads."""
        parts = tree.flatten((self.call.args, self.call.kwargs))
        return [part for part in parts if isinstance(part, Node)]

    def on(self, values: dict[int, Any]) -> Call:
        """The call with a value for every step, given by its index."""
        args, kwargs = tree.map_structure(
            lambda part: values[part.index] if isinstance(part, Node) else part,
            (self.call.args, self.call.kwargs),
        )
        return replace(self.call, args=args, kwargs=kwargs)


class Head(NamedTuple):
    """What the logits take from one ball."""

    rows: np.ndarray  #: Rows of the pending map, `(classes, entries)`.
    errors: np.ndarray  #: How far these can be from the true ones, in L2, `(classes,)`.
    plain: bool  #: Whether the squares of their differences lose nothing to underflow or overflow.


class Network:
    """The steps of a model, with the weights that it has now.

    An UnsupportedLayerError names a layer that no certificate can pass.
    """

    def __init__(self, model: Any) -> None:
        self.in_shape = tuple(model.inputs[0].shape[1:])
        trace = Trace()
        #: Every call of an operation, in order, with its step.
        self.visited: list[Visited] = []

        def step(call: Call) -> Node:
            node: Node = carried(call, trace)
            self.visited.append(Visited(call, node))
            return node

        self.logits: Node = fold(model, trace.start(self.in_shape), step)
        self.nodes = _needed(trace.nodes, self.logits)
        self.classes = self.logits.shape[-1]
        #: What float32 makes of some inputs, by their bytes: see `keraslip.certify.execution.executed`.
        self.emulations: dict[bytes, Any] = {}
        #: Norms of differences of rows, kept by what asks for them: see `keraslip.certify.bound.comparing`.
        self.differences: dict[tuple[Any, ...], Differences] = {}

    @cached_property
    def activations(self) -> dict[int, ActivationNode]:
        """The activations, in order, by their index."""
        return {node.index: node for node in self.nodes if isinstance(node, ActivationNode)}

    @property
    def steps(self) -> list[Node]:
        """All steps but the input, in order."""
        return self.nodes[1:]

    @cached_property
    def heads(self) -> dict[int, Head]:
        """Rows of the logits, for every ball that they depend on."""
        return {ball: _head_of(operator) for ball, operator in self.logits.terms.items()}

    def operators(self) -> Iterator[tuple[str, Proved]]:
        """The operator of every norm that the bound takes, with the layer that closes it."""
        for node in self.activations.values():
            for operator in node.sources[0].terms.values():
                yield node.name, operator
        for operator in self.logits.terms.values():
            yield "logits", operator

    @property
    def is_constant(self) -> bool:
        """Whether norms of zero keep every input from the logits: in exact arithmetic nothing moves them."""
        # Booleans, for products of small norms underflow.
        reached = {0}
        for node in self.activations.values():
            if _moves(node.sources[0], reached):
                reached.add(node.index)
        return not _moves(self.logits, reached)

    @property
    def widest(self) -> int:
        """Number of entries of the largest tensor."""
        return max(int(np.prod(node.shape)) for node in self.nodes)

    @property
    def entries(self) -> int:
        """Number of entries of all tensors."""
        return sum(int(np.prod(node.shape)) for node in self.nodes)


def _moves(node: Node, reached: set[int]) -> bool:
    return any(ball in reached and operator.norm != 0.0 for ball, operator in node.terms.items())


def _head_of(operator: Proved) -> Head:
    """The rows of a map onto a vector, written out by its adjoint."""
    basis = np.eye(operator.outputs)
    with np.errstate(over="ignore", invalid="ignore"):
        rows = operator.adjoint(basis).reshape(operator.outputs, -1)
        magnitude = l2(operator.absolute.adjoint(basis))
    # A coefficient of a folded kernel is a product.
    error = up(magnitude * gamma(operator.fan_out + 4, UNIT64), operator.fan_out)
    if not operator.map.stores:
        # Products of small coefficients may have vanished.
        error = error + operator.vanished * (operator.row_sums.reshape(-1) > 0.0)
    # Nothing is known of rows that float64 cannot hold but their norms.
    norms = np.broadcast_to(operator.row_norms(), (1, operator.outputs))[0]
    lost = ~(error <= norms) | ~np.isfinite(rows).all(axis=1)
    rows = np.where(lost[:, None], 0.0, rows)
    return Head(rows, np.where(lost, norms, error), _is_plain(rows))


def _is_plain(head: np.ndarray) -> bool:
    magnitude = np.abs(head)
    # Differences are multiples of the last digit of the smaller number: 2^-53 of it.
    least = np.where(magnitude == 0.0, np.inf, magnitude).min()
    return bool(least > 2.0**-390 and magnitude.max() < 2.0**500)


def _needed(nodes: list[Node], last: Node) -> list[Node]:
    """The steps that the logits depend on, in order."""
    wanted = {last.index}
    for node in reversed(nodes):
        if node.index in wanted:
            wanted.update(source.index for source in node.sources)
    return [node for node in nodes if node.index in wanted]
