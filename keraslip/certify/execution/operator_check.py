"""What can be seen of operators from outside: that each is a map, and that sums are what steps make."""

from collections.abc import Iterator

import numpy as np

from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, Forward, LinearNode, Node, SumNode
from keraslip.certify.operators import Proved
from keraslip.linear.contradictions import (
    contradiction,
    is_finite,
    is_known,
    of_norms,
    of_rows,
    of_vectors,
)

#: Far more than float64 rounds in any of these sums.
_TOLERANCE = 1e-9
#: Steps that look for the norm.
_STEPS = 20


def operator_problem(operator: Proved, rng: np.random.Generator) -> str | None:
    """What contradicts itself in an operator, in words, or `None`."""
    if not is_finite(operator.map):
        return (
            "its coefficients are not finite: it divides by zero, for instance, or takes the root of a "
            "number below zero"
        )
    u = rng.standard_normal((1, *operator.in_shape))
    v = rng.standard_normal((1, *operator.out_shape))
    absolute = operator.absolute
    problem = of_vectors(operator, absolute, u, v, rng)
    problem = problem or of_rows(operator, absolute, rng, operator.signless)
    if problem or type(operator).__module__.startswith("keraslip."):
        return problem  # keraslip's own norms are proved, and take long
    return of_norms(operator, u, operator.norm, _STEPS)


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
