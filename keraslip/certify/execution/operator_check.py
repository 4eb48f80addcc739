"""What can be seen of an operator from outside: adjoint, magnitudes, row norms and sums of maps."""

from collections.abc import Iterator

import numpy as np

from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, Forward, LinearNode, Node, SumNode
from keraslip.certify.operators import Proved
from keraslip.linear.contradictions import contradiction, is_known

#: Far more than float64 rounds in any of these sums.
_TOLERANCE = 1e-9
#: Rows that are written out.
_ROWS = 2


def operator_problem(operator: Proved, rng: np.random.Generator) -> str | None:
    """What contradicts itself in an operator, in words, or `None`."""
    u = rng.standard_normal((1, *operator.in_shape))
    v = rng.standard_normal((1, *operator.out_shape))
    forward, back = operator.forward(u), operator.adjoint(v)
    if forward.shape != v.shape or back.shape != u.shape:
        return f"its map goes from {u.shape} to {forward.shape}, its adjoint to {back.shape}"
    magnitude = operator.absolute.forward(np.abs(u))
    size = np.sum(magnitude * np.abs(v))
    if not abs(np.sum(forward * v) - np.sum(u * back)) <= _TOLERANCE * size:
        return "its adjoint is not that of its forward map"
    if not (np.abs(forward) <= (1.0 + _TOLERANCE) * magnitude).all():
        return "its map with absolute values is smaller than the map"
    return _row_problem(operator, rng) or _norm_problem(operator, u, forward)


def _row_problem(operator: Proved, rng: np.random.Generator) -> str | None:
    some = rng.choice(operator.outputs, min(_ROWS, operator.outputs), replace=False)
    basis = np.zeros((len(some), operator.outputs))
    basis[np.arange(len(some)), some] = 1.0
    basis = basis.reshape(len(some), *operator.out_shape)
    rows, magnitudes = operator.adjoint(basis), operator.absolute.adjoint(basis)
    if not (np.abs(rows) <= (1.0 + _TOLERANCE) * magnitudes).all():
        return "its map with absolute values is smaller than the map"
    for row, claimed in ((rows, operator.row_norms()), (magnitudes, operator.signless.row_norms())):
        claims = np.broadcast_to(claimed, (1, *operator.out_shape)).reshape(-1)[some]
        if not (
            np.linalg.norm(row.reshape(len(some), -1), axis=1) <= (1 + _TOLERANCE) * claims
        ).all():
            return "its row norms are smaller than the norms of its rows"
    return None


def _norm_problem(operator: Proved, u: np.ndarray, forward: np.ndarray) -> str | None:
    """Of operators that are not keraslip's own; theirs are proved, and take long."""
    if type(operator).__module__.startswith("keraslip."):
        return None
    for _ in range(20):
        length = np.linalg.norm(u)
        if not np.linalg.norm(forward) <= (1.0 + _TOLERANCE) * operator.norm * length:
            return "its norm is smaller than what it does to a vector"
        u = operator.adjoint(forward)
        u = u / max(float(np.linalg.norm(u)), 1e-300)
        forward = operator.forward(u)
    return None


def operator_problems(network: Network, rng: np.random.Generator) -> Iterator[tuple[Node, str]]:
    """Steps with an operator that contradicts itself, or the steps before, and why."""
    closing = [node.sources[0] for node in network.activations.values()]
    closing = [node for node in (*closing, network.logits) if not node.is_ball]
    own = [(node, node.operator) for node in network.nodes if isinstance(node, LinearNode)]
    for linear in [node for node, operator in own if not is_known(operator.map)]:
        problem = contradiction(linear.operator.map, rng)
        if problem is not None:
            yield linear, problem
    pending = [(node, operator) for node in closing for operator in node.terms.values()]
    for node, operator in {
        id(operator): (node, operator) for node, operator in own + pending
    }.values():
        problem = operator_problem(operator, rng)
        if problem is not None:
            yield node, problem
    for node in _wrong_sums(network, closing, rng):
        yield node, "the maps that its norms are taken of are not the product of its steps"


def _wrong_sums(network: Network, closing: list[Node], rng: np.random.Generator) -> Iterator[Node]:
    """Steps that a change of every activation moves otherwise than their pending maps say."""
    run = _Changes(rng, network.in_shape)
    for node in network.steps:
        run.values[node.index] = node.visit(run)
    for node in closing:
        parts = [(operator, run.values[ball]) for ball, operator in node.terms.items()]
        found = np.add.reduce([operator.forward(change) for operator, change in parts])
        size = np.add.reduce([op.absolute.forward(np.abs(change)) for op, change in parts])
        if not (np.abs(found - run.values[node.index]) <= _TOLERANCE * size).all():
            yield node


class _Changes(Forward):
    """What a random change of every ball makes of the steps between."""

    def __init__(self, rng: np.random.Generator, in_shape: tuple[int, ...]) -> None:
        super().__init__({0: rng.standard_normal((1, *in_shape))})
        self.rng = rng

    def linear(self, node: LinearNode) -> np.ndarray:
        return node.operator.forward(self.values[node.sources[0].index])

    def sum(self, node: SumNode) -> np.ndarray:
        return np.asarray(np.add.reduce([self.values[source.index] for source in node.sources]))

    def activate(self, node: ActivationNode) -> np.ndarray:
        return self.rng.standard_normal((1, *node.shape))
