"""The frozen certificate's graph: `SoundPass` with global norms in a graph's arithmetic, and margins."""

from functools import partial

import numpy as np
import tensorflow as tf

from keraslip.activations import Activation
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.reach import Reach
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import SMALLEST, UNIT64, Execution, gamma, up
from keraslip.certify.operators import Proved, Upwards
from keraslip.export.graph_arithmetic import Graph
from keraslip.export.graph_operators import InGraph, each, l2, largest, times
from keraslip.typing import Tensor


class FrozenPass(SoundPass):
    """One batch."""

    def __init__(
        self, network: Network, graph: Graph, execution: Execution, x: Tensor, epsilon: Tensor
    ) -> None:
        self.upwards = Upwards(graph, up, times, l2, largest, each)
        #: Activations that round: a graph cannot ask whether an error is zero.
        self._inexact: set[int] = set()
        norms = partial(global_norms, upwards=self.upwards)
        self._begin(network, epsilon, norms, execution, False)
        self._start(x)
        for node in network.nodes[1:]:
            node.visit(self)
        self.logits = self.centers[network.logits.index]

    def _rounded_input(self, size: Tensor) -> Tensor:
        # The input is the rounding of what was meant, and small entries of it count as zero here, too.
        rounded = super()._rounded_input(size)
        return up(2.0 * (1.0 + self.execution.unit) * rounded)

    def _in(self, operator: Proved) -> InGraph:
        return InGraph(operator, self.upwards)

    def _formula(self, activation: Activation) -> Activation:
        return activation.to(self.upwards.arithmetic)

    def activate(self, node: ActivationNode) -> None:
        super().activate(node)
        if node.activation.roundings:
            self._inexact.add(node.index)

    def _is_exact(self, ball: int, error: Tensor) -> bool:
        return ball not in self._inexact

    def _weights(self, columns: Tensor) -> Tensor:
        return columns

    def lipschitz(self) -> Tensor:
        """Bound on the Lipschitz constant of the logits, `(batch,)`."""
        total = Reach(tf.zeros_like(self.epsilon), tf.zeros_like(self.epsilon), self.upwards)
        for ball, operator in self.network.logits.terms.items():
            view = self.balls[ball].views[0]
            total = total + view.reach.times(self.norms(operator, None, view.columns))
        return total.gain

    def executed_error(self) -> Tensor:
        """How far executed logits may be from the exact ones, `(batch, classes)`."""
        error = self.errors[self.network.logits.index]
        for ball, operator in self.network.logits.terms.items():
            view = self.balls[ball].views[0]
            norms = self._in(operator).row_norms(view.columns)
            error = up(error + times(each(view.reach.rounding, norms), norms))
        return error

    def margin(self, label: Tensor) -> Tensor:
        """Smallest margin of the label over the other classes, `(batch,)`."""
        own = tf.gather(self.logits, label, batch_dims=1)[:, None]
        gap = own - self.logits
        error = self.errors[self.network.logits.index]
        total = up(error + tf.gather(error, label, batch_dims=1)[:, None])
        total += gamma(2, UNIT64) * (tf.abs(self.logits) + tf.abs(gap))
        constant = self.upwards.arithmetic.constant
        for ball, (head, off, _) in self.network.heads.items():
            errors = constant(off)
            written = tf.gather(errors, label)[:, None] + errors
            total = up(total + self._closes(ball, constant(head), written, label))
        numbers = tf.range(self.network.classes)[None]
        # Far above every margin, but finite: converters write `where` as products, and 0 inf is NaN.
        missing = tf.fill(tf.shape(gap), np.float64(1e300))
        least = tf.reduce_min(tf.where(numbers == label[:, None], missing, gap - total), axis=1)
        # Some runtimes leave NaN out of a minimum; zero times what is not finite is NaN.
        return least + 0.0 * tf.reduce_sum(tf.abs(gap) + total, axis=1)

    def _closes(self, ball: int, head: Tensor, written: Tensor, label: Tensor) -> Tensor:
        """By how much one ball closes the gap to every class, `(batch, classes)`."""
        rows = tf.gather(head, label)  # (batch, entries)
        bounds = []
        for view in self.balls[ball].views:
            weights = tf.ones_like(rows)
            if view.columns is not None:
                weights = tf.reshape(view.columns, tf.shape(rows))
            apart = (rows[:, None] - head[None]) * weights[:, None]
            norms = up(self._lengths(apart, self.network.heads[ball].plain) + written)
            bounds.append(up(times(norms, view.reach.at(self.epsilon)[:, None])))
        return tf.reduce_min(tf.stack(bounds), axis=0)

    @staticmethod
    def _lengths(apart: Tensor, plain: bool) -> Tensor:
        """Norms of differences of rows, `(batch, classes)`."""
        if plain:
            return up(tf.sqrt(tf.reduce_sum(tf.square(apart), axis=2)), apart.shape[2])
        classes, entries = apart.shape[1:]
        return tf.reshape(l2(tf.reshape(apart, [-1, entries])), [-1, classes])


#: More than a cast to float32 changes a number by.
_CAST = 2.0**-23


class FrozenGraph:
    """Certificates of one network, its norms frozen.

    `share` is the part of float32's worst error up to which logits are taken for float32's.
    """

    def __init__(self, network: Network, share: float = 1.0) -> None:
        self._network, self._share = network, share
        self._execution = Execution.of("float32")
        self.constants = Graph()

    def __call__(self, x: Tensor, epsilon: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Certificates of a batch for radii `()` or `(batch,)` and executed logits: all of it float32.

        Label int32, certified bool, margin and lipschitz float32, each `(batch,)`.
        """
        asked = tf.broadcast_to(tf.cast(epsilon, tf.float64), [tf.shape(x)[0]])
        # A radius that was meant may have been rounded down to this float32.
        radii = asked * (1.0 + _CAST) + SMALLEST
        found = FrozenPass(
            self._network, self.constants, self._execution, tf.cast(x, tf.float64), radii
        )
        top = tf.reduce_max(logits, axis=1, keepdims=True)
        classes = self._network.classes
        # The first of the largest, in operations that every runtime knows.
        place = tf.where(logits >= top, tf.range(classes)[None], classes)
        label = tf.minimum(tf.reduce_min(place, axis=1), classes - 1)
        margin, lipschitz = found.margin(label), found.lipschitz()
        tied = tf.reduce_sum(tf.cast(logits >= top, tf.int32), axis=1) > 1
        executed = tf.cast(logits, tf.float64)
        # The executed logits must be as near to the exact ones as float32 has to bring them.
        allowed = self._share * found.executed_error()
        near = tf.reduce_all(tf.abs(executed - found.logits) <= allowed, axis=1)
        # Comparisons with NaN are false: what is not finite is not certified.
        certified = (margin > 0.0) & (lipschitz < np.inf) & near & ~tied
        certified &= (asked >= 0.0) & (asked < np.inf) & found.fits
        below, above = (tf.cast(one, tf.float64) for one in (margin < 0.0, lipschitz > 0.0))
        return {
            "label": label,
            "certified": certified,
            # Rounded to the safe side: the cast goes to the nearest float32, or to zero.
            "margin": tf.cast(margin - _CAST * tf.abs(margin) - SMALLEST * below, tf.float32),
            "lipschitz": tf.cast(lipschitz * (1.0 + _CAST) + SMALLEST * above, tf.float32),
        }


def answers(
    network: Network, x: np.ndarray, epsilon: float, logits: np.ndarray
) -> dict[str, np.ndarray]:
    """What the graph says of a batch at a radius, traced for any number of samples but not written."""
    shapes = (None, *network.in_shape), (), (None, network.classes)
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    graph = tf.function(FrozenGraph(network), input_signature=signature, autograph=False)
    found = graph(*(tf.constant(given, tf.float32) for given in (x, epsilon, logits)))
    return {name: value.numpy() for name, value in found.items()}
