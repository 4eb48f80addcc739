"""What rules ask for, written down as the certifier's steps."""

from typing import Any

import numpy as np

from keraslip.activations import Activation
from keraslip.activations.sampled import activation_problem
from keraslip.arithmetic import float64
from keraslip.certify.bound.nodes import ActivationNode, LinearNode, Node, SumNode
from keraslip.certify.operators import Proved, add, compose, prove, simplified, stack
from keraslip.linear import Identity, LinearMap
from keraslip.rules import UnsupportedLayerError
from keraslip.rules.interpreter import AtInference
from keraslip.typing import Shape


class Trace(AtInference):
    """Writes down the steps that the layers' rules ask for."""

    def __init__(self) -> None:
        self.key = ""
        self.nodes: list[Node] = []

    def start(self, shape: Shape) -> Node:
        """The network's input: the first ball."""
        self.key = "input"
        return self._keep(Node, shape, (), {0: prove(Identity(shape))})

    def linear(self, form: Node, linear_map: LinearMap, bias: Any = None) -> Node:
        """`W x + bias`."""
        try:
            operator = prove(linear_map)
        except NotImplementedError as error:
            raise UnsupportedLayerError(f"No certificate can pass {self.key!r}: {error}.") from None
        if operator.moves and bias is not None:
            # What only moves entries keeps balls closed, so it cannot add anything.
            return self.shift(self.linear(form, linear_map), bias)
        shape, folded = operator.out_shape, simplified(operator)
        terms = {ball: compose(folded, pending) for ball, pending in form.terms.items()}
        number = None if bias is None else _broadcastable(bias, len(shape))
        apart = form.disjoint and operator.entrywise
        return self._keep(LinearNode, shape, (form,), terms, operator, number, disjoint=apart)

    def activate(self, form: Node, activation: Activation) -> Node:
        """Closes a ball."""
        shape = form.shape
        terms = {len(self.nodes): prove(Identity(shape))}
        exact = activation.to(float64)
        if not type(exact).__module__.startswith("keraslip."):
            problem = activation_problem(exact, shape, np.random.default_rng(0))
            if problem is not None:
                raise UnsupportedLayerError(
                    f"No certificate can pass {self.key!r}: what {type(exact).__name__} says of itself does "
                    f"not hold. {problem[0].upper()}{problem[1:]}. Remedy: see "
                    "keraslip.activations.Activation for what must hold."
                )
        return self._keep(ActivationNode, shape, (form,), terms, exact)

    def add(self, forms: list[Node], disjoint: bool = False) -> Node:
        """The sum of branches; maps from one ball are added before they are bounded."""
        gathered: dict[int, list[Proved]] = {}
        for form in forms:
            for ball, operator in form.terms.items():
                gathered.setdefault(ball, []).append(operator)
        put = stack if disjoint else add
        terms = {ball: put(operators) for ball, operators in gathered.items()}
        apart = disjoint and all(form.disjoint or len(form.terms) == 1 for form in forms)
        parts = forms[0].shape, tuple(forms), terms
        return self._keep(SumNode, *parts, None, not disjoint, disjoint=apart)

    def shift(self, form: Node, constant: Any) -> Node:
        """A constant added."""
        number = _broadcastable(constant, len(form.shape))
        parts = form.shape, (form,), form.terms
        return self._keep(SumNode, *parts, number, disjoint=form.disjoint)

    def _keep(self, kind: type[Node], *fields: Any, **named: Any) -> Node:
        self.nodes.append(kind(len(self.nodes), self.key, *fields, **named))
        return self.nodes[-1]


def _broadcastable(tensor: Any, rank: int) -> np.ndarray:
    array = float64.constant(tensor)
    return array.reshape((1,) * (rank + 1 - array.ndim) + array.shape)
