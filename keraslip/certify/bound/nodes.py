"""The steps that a network is made of, and what passes over them."""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

import numpy as np

from keraslip.activations import Activation
from keraslip.certify.operators import Proved
from keraslip.typing import Shape

T_co = TypeVar("T_co", covariant=True)


class Visitor(Protocol[T_co]):
    """A pass over the steps of a network, as `keraslip.rules.interpreter` is one over layers.

    `node.visit(visitor)` calls the method that its kind of step has.
    """

    def linear(self, node: "LinearNode", /) -> T_co:
        """`W x + bias`."""

    def sum(self, node: "SumNode", /) -> T_co:
        """The sum of some steps and a constant."""

    def activate(self, node: "ActivationNode", /) -> T_co:
        """An activation."""


@dataclass(frozen=True, eq=False)
class Node:
    """One step of the network; its output is `center + sum_b L_b (z_b - c_b)` over balls b."""

    index: int  #: Its place; sources come first.
    name: str  #: Path of the layer in the model.
    shape: Shape  #: Shape of the output, without the batch axis.
    sources: tuple["Node", ...]  #: Steps that it reads.
    terms: dict[int, Proved]  #: The pending operator from every ball, by the ball's index.
    #: Whether no two of these operators move one entry.
    disjoint: bool = field(default=False, kw_only=True)
    is_form: ClassVar[bool] = True

    @property
    def is_ball(self) -> bool:
        """Whether the step closes a ball of its own."""
        return self.index in self.terms

    def visit(self, visitor: Visitor[T_co]) -> T_co:
        """What a visitor makes of the step."""
        raise TypeError(f"Nothing leads to the network's input. Received: {self.name!r}")


@dataclass(frozen=True, eq=False)
class LinearNode(Node):
    """`W x + bias`; the bias has the shape `(1, ...)` and broadcasts."""

    operator: Proved
    bias: np.ndarray | None

    @property
    def kernels(self) -> list[tuple[int, Proved]]:
        """The maps that may be multiplied out, each with the index of the step that it reads.

        A backend may have multiplied the scale of the layer before into this one's kernel, so the
        coefficients of that product count as well.
        """
        folded = [(ball, operator) for ball, operator in self.terms.items() if operator.folded]
        return [(self.sources[0].index, self.operator), *folded]

    def visit(self, visitor: Visitor[T_co]) -> T_co:
        """Calls `visitor.linear`."""
        return visitor.linear(self)


@dataclass(frozen=True, eq=False)
class SumNode(Node):
    """The sum of its sources, and of a constant; of branches that are concatenated if it does not round."""

    constant: np.ndarray | None
    rounds: bool = True

    def visit(self, visitor: Visitor[T_co]) -> T_co:
        """Calls `visitor.sum`."""
        return visitor.sum(self)


@dataclass(frozen=True, eq=False)
class ActivationNode(Node):
    """An activation, in float64; it closes a ball."""

    activation: Activation

    def visit(self, visitor: Visitor[T_co]) -> T_co:
        """Calls `visitor.activate`."""
        return visitor.activate(self)


class Forward:
    """What every step makes of the steps before, in float64; a `Visitor`.

    `values` are outputs by the step's index, at first those of the input; whoever visits adds the others.
    """

    def __init__(self, values: dict[int, np.ndarray]) -> None:
        self.values = values

    def linear(self, node: LinearNode) -> np.ndarray:
        """`W x + bias`."""
        out = node.operator.forward(self.values[node.sources[0].index])
        return out if node.bias is None else out + node.bias

    def sum(self, node: SumNode) -> np.ndarray:
        """The sum of the sources, and of a constant."""
        out = np.add.reduce([self.values[source.index] for source in node.sources])
        return np.asarray(out if node.constant is None else out + node.constant)

    def activate(self, node: ActivationNode) -> np.ndarray:
        """The activation."""
        return np.asarray(node.activation.call(self.values[node.sources[0].index]))


def closed_ball(node: Node) -> int | None:
    """The ball that a step only moves entries of, or `None`."""
    while isinstance(node, LinearNode) and node.operator.moves:
        node = node.sources[0]
    return node.index if node.is_ball else None
