"""One pass of a batch through the frozen certificate's graph.

Step for step what `keraslip.certify.bound.sound_pass.SoundPass` does with global norms; the tests hold the
two against each other.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from keraslip.activations import Activation
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, LinearNode, Node, SumNode
from keraslip.certify.bound.sound_pass import closed_ball
from keraslip.certify.norms.rounding import FLOAT64, TINY, Execution, gamma, sum_error
from keraslip.certify.operators import compose
from keraslip.export.graph_operators import Constants, forward, row_norms
from keraslip.export.graph_views import View, each, l2, largest, times, up

Tensor = Any


class FrozenPass:
    """One batch; see `keraslip.certify.bound.sound_pass.SoundPass` for what holds at each step and why."""

    def __init__(
        self,
        network: Network,
        constants: Constants,
        execution: Execution,
        x: Tensor,
        epsilon: Tensor,
    ) -> None:
        self.network, self.constants, self.epsilon = network, constants, epsilon
        self.unit, self.smallest, self.top = execution.unit, execution.smallest, execution.largest
        self.centers: dict[int, Tensor] = {0: x}
        self.errors: dict[int, Tensor] = {0: tf.zeros_like(x)}
        self.split: dict[int, tuple[Tensor, Tensor]] = {}
        size = l2(x) + epsilon
        # The input is the rounding of what was meant, and small entries of it count as zero here, too.
        flushed = self.smallest * np.prod(network.in_shape) ** 0.5
        rounded = up(2.0 * (1.0 + self.unit) * (self.unit * size + flushed))
        start = View(tf.ones_like(epsilon), rounded, None)
        #: Whether no number can overflow, `(batch,)`.
        self.fits = size < self.top
        self.views: dict[int, list[View]] = {0: [start]}
        for node in network.nodes[1:]:
            if isinstance(node, LinearNode):
                self._linear(node)
            elif isinstance(node, SumNode):
                self._sum(node)
            elif isinstance(node, ActivationNode):
                self._activate(node)
        self.logits = self.centers[network.logits.index]

    def _fit(self, peak: Tensor) -> None:
        self.fits &= largest(peak) < self.top

    def _entry_reach(self, ball: int, operator: Any) -> Tensor:
        reach = None
        for view in self.views[ball]:
            norms = row_norms(operator, view.columns, self.constants)
            distance = times(each(view.at(self.epsilon), norms), norms)
            reach = distance if reach is None else tf.minimum(reach, distance)
        return reach

    def _box(self, node: Node) -> Tensor:
        total = self.errors[node.index]
        for ball, operator in node.terms.items():
            total = total + self._entry_reach(ball, operator)
        return up(total)

    def _linear(self, node: LinearNode) -> None:
        source, operator = node.sources[0], node.operator
        x, error = self.centers[source.index], self.errors[source.index]
        center = forward(operator, x, self.constants)
        if operator.moves:
            self.centers[node.index] = center
            self.errors[node.index] = forward(operator, error, self.constants)
            return

        def absolute(z: Tensor) -> Tensor:
            return forward(operator, z, self.constants, absolute=True)

        magnitude = absolute(tf.abs(x))
        if node.bias is not None:
            bias = self.constants(node.bias)
            center, magnitude = center + bias, magnitude + tf.abs(bias)
        sums, products = sum_error(operator.terms, self.unit, operator.one_sum)
        written = products + operator.slack
        executed, own = sums + written, gamma(operator.terms + 2, FLOAT64)
        index = closed_ball(source)
        carried = 0.0 if index is not None and self.exact(index) else absolute(error)
        if index is None:
            moved = up(absolute(self._box(source)), operator.terms)
        else:
            moved = self._entry_reach(index, compose(operator.signless, source.terms[index]))
        around = 0.0 if index is None else carried
        reached = (1.0 + executed) * up(magnitude + moved + around, operator.terms)
        self._fit(reached * operator.swell)
        flushed = float(operator.flushes.max()) * (self.smallest + TINY) + self._vanishing(node)
        partial = 0.5 * (magnitude + tf.abs(center)) + own * magnitude
        at_center = (
            carried + executed * around + sums * partial + (written + own) * magnitude + flushed
        )
        at_center = up(at_center, operator.terms)
        if index is not None:
            reach = self.views[index][0].at(self.epsilon)
            vector = up(times(np.float64(executed * operator.absolute_norm), reach))
            self.split[node.index] = at_center, vector
        self.centers[node.index] = center
        self.errors[node.index] = up(at_center + executed * moved)

    def exact(self, ball: int) -> bool:
        """Whether a ball has all of its error in its radius: its activation, if any, rounds nothing."""
        node = next(one for one in self.network.nodes if one.index == ball)
        return not isinstance(node, ActivationNode) or not node.activation.roundings

    def _vanishing(self, node: LinearNode) -> Any:
        """See `keraslip.certify.bound.sound_pass.SoundPass`."""
        lost: Any = 0.0
        nodes = {one.index: one for one in self.network.nodes}
        for index, operator in node.kernels:
            if not operator.greatest < self.top:
                self.fits &= False
            vanishing = operator.vanishing(self.smallest)
            if operator.staged or vanishing is not None:
                peak = largest(tf.abs(self.centers[index]) + self._box(nodes[index]))
                self._fit((up(times(peak, np.float64(operator.growth))))[:, None])
                if vanishing is not None:
                    sums = self.constants(np.asarray(vanishing))
                    lost = lost + times(sums, each(peak, sums))
        return lost

    def _sum(self, node: SumNode) -> None:
        count = len(node.sources) + (node.constant is not None)
        centers = [self.centers[source.index] for source in node.sources]
        center, magnitude = tf.add_n(centers), tf.add_n([tf.abs(c) for c in centers])
        if node.constant is not None:
            constant = self.constants(node.constant)
            center, magnitude = center + constant, magnitude + tf.abs(constant)
        executed, own = gamma(count, self.unit), gamma(count, FLOAT64)
        error = tf.add_n([self.errors[source.index] for source in node.sources])
        moved = tf.add_n([self._box(source) for source in node.sources])
        rounding = (executed + own) * magnitude + executed * moved
        self.centers[node.index] = center
        self._fit((1.0 + executed) * (magnitude + moved))
        self.errors[node.index] = up(error + rounding + 4 * count * self.smallest)

    def _activate(self, node: ActivationNode) -> None:
        source, activation = node.sources[0], node.activation.to(self.constants)
        z, rho = self.centers[source.index], self._box(source)
        slopes, output = activation.slopes(z, rho, hard=False), activation.call(z)
        views = [View(*self._closed(source, slopes.rows), slopes.columns)]
        if slopes.high is not None:
            gain, rounding = self._closed(source, slopes.columns)
            most = tf.maximum(largest(slopes.rows), np.float64(1.0))
            weights = tf.minimum(up(slopes.rows / each(most, z)), np.float64(1.0))
            if activation.lipschitz <= 1.0:
                most, weights = np.float64(1.0), slopes.rows
            views.append(View(up(times(gain, most)), up(times(rounding, most)), weights))
        self.centers[node.index] = output
        self.errors[node.index] = self._rounded(activation, z, rho, output)
        self.views[node.index] = views

    def _rounded(self, activation: Activation, z: Tensor, rho: Tensor, output: Tensor) -> Tensor:
        """See `SoundPass._rounded`."""
        count, most = activation.roundings, activation.lipschitz
        if not count:
            return tf.zeros_like(z)
        size = tf.abs(output) + most * (tf.abs(z) + 2.0 * rho)
        self._fit(size)
        flushed = count * (1.0 + most) * self.smallest
        return up((gamma(count, self.unit) + gamma(count, FLOAT64)) * size + flushed)

    def _closed(self, source: Node, rows: Tensor) -> tuple[Tensor, Tensor]:
        rounding = l2(times(rows, self.errors[source.index]))
        if source.index in self.split:
            entries, rest = self.split[source.index]
            rounding = tf.minimum(rounding, up(l2(times(rows, entries)) + rest))
        gain = tf.zeros_like(self.epsilon)
        for ball, operator in source.terms.items():
            view = self.views[ball][0]
            norm = up(times(times(np.float64(operator.norm), largest(rows)), self._weight(view)))
            gain = up(gain + up(times(view.gain, norm)))
            rounding = up(rounding + up(times(view.rounding, norm)))
        return gain, rounding

    def _weight(self, view: View) -> Tensor:
        return tf.ones_like(self.epsilon) if view.columns is None else largest(view.columns)

    def lipschitz(self) -> Tensor:
        """Bound on the Lipschitz constant of the logits, `(batch,)`."""
        gain = tf.zeros_like(self.epsilon)
        for ball, operator in self.network.logits.terms.items():
            view = self.views[ball][0]
            norm = up(times(np.float64(operator.norm), self._weight(view)))
            gain = up(gain + up(times(view.gain, norm)))
        return gain

    def logits_error(self) -> Tensor:
        """How far executed logits may be from the exact ones, `(batch, classes)`."""
        error = self.errors[self.network.logits.index]
        for ball, operator in self.network.logits.terms.items():
            view = self.views[ball][0]
            norms = row_norms(operator, view.columns, self.constants)
            error = up(error + times(each(view.rounding, norms), norms))
        return error

    def margin(self, label: Tensor) -> Tensor:
        """Smallest margin of the label over the other classes, `(batch,)`."""
        own = tf.gather(self.logits, label, batch_dims=1)[:, None]
        gap = own - self.logits
        error = self.errors[self.network.logits.index]
        total = up(error + tf.gather(error, label, batch_dims=1)[:, None])
        total += gamma(2, FLOAT64) * (tf.abs(self.logits) + tf.abs(gap))
        for ball, head in self.network.heads.items():
            errors = self.constants(self.network.head_errors[ball])
            written = tf.gather(errors, label)[:, None] + errors
            total = up(total + self._closes(ball, self.constants(head), written, label))
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
        for view in self.views[ball]:
            weights = tf.ones_like(rows)
            if view.columns is not None:
                weights = tf.reshape(view.columns, tf.shape(rows))
            apart = (rows[:, None] - head[None]) * weights[:, None]
            norms = up(self._lengths(apart, self.network.plain_heads[ball]) + written)
            bounds.append(up(times(norms, view.at(self.epsilon)[:, None])))
        return tf.reduce_min(tf.stack(bounds), axis=0)

    @staticmethod
    def _lengths(apart: Tensor, plain: bool) -> Tensor:
        """Norms of differences of rows, `(batch, classes)`."""
        if plain:
            return up(tf.sqrt(tf.reduce_sum(tf.square(apart), axis=2)), apart.shape[2])
        classes, entries = apart.shape[1:]
        return tf.reshape(l2(tf.reshape(apart, [-1, entries])), [-1, classes])
