"""The certifier's maps as TensorFlow operations in float64, from basic operations only."""

from typing import Any

from keraslip.certify.operators import Operator, Upwards
from keraslip.export.graph_arithmetic import Graph
from keraslip.export.graph_views import times, up

Tensor = Any


class Constants(Graph):
    """Arrays that the graph reads, each stored once as a variable."""

    __call__ = Graph.constant


def forward(operator: Operator, x: Tensor, constants: Constants, absolute: bool = False) -> Tensor:
    """Applies an operator, or its absolute values.

    Args:
        operator: The operator.
        x: Tensor `(batch, *in_shape)`, float64.
        constants: Where coefficients are stored.
        absolute: Whether to apply |W|.
    """
    moved = operator.map.to(constants)
    return (moved.absolute() if absolute else moved).forward(x)


def row_norms(operator: Operator, columns: Tensor | None, constants: Constants) -> Tensor:
    """As `Operator.row_norms`.

    Args:
        operator: The operator.
        columns: Weights `(batch, *in_shape)`, or `None` for ones.
        constants: Where coefficients are stored.
    """
    return operator.row_norms_in(Upwards(constants, up, times), columns)
