"""The certifier's maps on the tensors of a graph; what a proof knows of them are numbers all the same."""

from keraslip.certify.norms.rounding import TINY
from keraslip.certify.operators import Proved, Upwards
from keraslip.export.graph_arithmetic import Graph
from keraslip.export.graph_views import each, l2, largest, times, up
from keraslip.linear import LinearMap
from keraslip.typing import Tensor


class Constants(Graph):
    """Arrays that the graph reads, each stored once as a variable."""

    __call__ = Graph.constant


def graph_upwards(constants: Constants) -> Upwards:
    """Bounds as tensors of a graph."""
    return Upwards(constants, up, times, l2, largest, each)


class InGraph:
    """What `keraslip.certify.bound.sound_pass.SoundPass` applies of an operator.

    Args:
        operator: The operator.
        upwards: The graph's.
    """

    def __init__(self, operator: Proved, upwards: Upwards) -> None:
        self._operator, self._upwards = operator, upwards
        self._map = upwards.map(operator.map)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *in_shape)` to `(batch, *out_shape)`, float64."""
        return self._map.forward(x)

    @property
    def absolute(self) -> LinearMap:
        """The map with |W|."""
        return self._map.absolute()

    def row_norms(self, columns: Tensor | None = None) -> Tensor:
        """See `Proved.row_norms`."""
        return self._operator.row_norms_in(self._upwards, columns)

    @property
    def flushes(self) -> float:
        """The largest of `Proved.flushes`: an array as large as an activation is not stored."""
        return float(self._operator.flushes.max())

    @property
    def underflows(self) -> float:
        """See `Proved.underflows`."""
        return 2.0 * TINY * self.flushes
