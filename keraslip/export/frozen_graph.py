"""The frozen certificate as a TensorFlow graph: global proved norms and anchored slopes, in float64.

Step for step what `keraslip.certify.propagation.SoundPass` does with global norms; the tests hold the two
against each other.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keraslip.certify.network import ActivationNode, LinearNode, Network, Node, SumNode
from keraslip.certify.operators import compose
from keraslip.certify.propagation import Execution, closed_ball
from keraslip.certify.rounding import FLOAT64, INFLATION, gamma, sum_error
from keraslip.certify.slopes import PAD, ProvedClippedReLU, ProvedMaxMin
from keraslip.export.graph_operators import Constants, forward, row_norms

Tensor = Any


def _up(x: Tensor) -> Tensor:
    return x * INFLATION


def _l2(x: Tensor) -> Tensor:
    return _up(tf.sqrt(tf.reduce_sum(tf.square(tf.reshape(x, [tf.shape(x)[0], -1])), axis=1)))


def _largest(x: Tensor) -> Tensor:
    return tf.reduce_max(tf.reshape(x, [tf.shape(x)[0], -1]), axis=1)


def _each(x: Tensor, like: Tensor) -> Tensor:
    return tf.reshape(x, [-1] + [1] * (len(like.shape) - 1))


@dataclass(frozen=True, eq=False)
class _View:
    """See `keraslip.certify.propagation.View`: radius as `gain * epsilon + rounding`, and weights."""

    gain: Tensor
    rounding: Tensor
    columns: Tensor | None

    def at(self, epsilon: Tensor) -> Tensor:
        return _up(self.gain * epsilon + self.rounding)


class FrozenGraph:
    """Certificates of one network, its norms frozen.

    Args:
        network: The network.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._execution = Execution.of("float32")
        self.constants = Constants()

    def __call__(self, x: Tensor, epsilon: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Certificates of a batch.

        Args:
            x: Inputs `(batch, *shape)`, float32.
            epsilon: Radii, `()` or `(batch,)`, float32.
            logits: Executed logits `(batch, classes)`, float32.

        Returns:
            label int32, certified bool, margin and lipschitz float32, each `(batch,)`.
        """
        radii = tf.broadcast_to(tf.cast(epsilon, tf.float64), [tf.shape(x)[0]])
        found = _Pass(self._network, self.constants, self._execution, tf.cast(x, tf.float64), radii)
        top = tf.reduce_max(logits, axis=1, keepdims=True)
        classes = self._network.classes
        # The first of the largest, in operations that every runtime knows.
        place = tf.where(logits >= top, tf.range(classes)[None], classes)
        label = tf.minimum(tf.reduce_min(place, axis=1), classes - 1)
        margin, lipschitz = found.margin(label), found.lipschitz()
        tied = tf.reduce_sum(tf.cast(logits >= top, tf.int32), axis=1) > 1
        executed = tf.cast(logits, tf.float64)
        # The executed logits must be as near to the exact ones as float32 has to bring them.
        near = tf.reduce_all(tf.abs(executed - found.logits) <= found.logits_error(), axis=1)
        # Comparisons with NaN are false: what is not finite is not certified.
        certified = (margin > 0.0) & (lipschitz < np.inf) & near & ~tied
        certified &= (radii >= 0.0) & (radii < np.inf) & found.fits
        return {
            "label": label,
            "certified": certified,
            "margin": tf.cast(margin, tf.float32),
            "lipschitz": tf.cast(lipschitz, tf.float32),
        }


class _Pass:
    """One batch; see `keraslip.certify.propagation.SoundPass` for what holds at each step and why."""

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
        size = _l2(x) + epsilon
        rounded = _up(self.unit * size + self.smallest * np.prod(network.in_shape) ** 0.5)
        start = _View(tf.ones_like(epsilon), rounded, None)
        #: Whether no number can overflow, `(batch,)`.
        self.fits = size < self.top
        self.views: dict[int, list[_View]] = {0: [start]}
        for node in network.nodes[1:]:
            if isinstance(node, LinearNode):
                self._linear(node)
            elif isinstance(node, SumNode):
                self._sum(node)
            elif isinstance(node, ActivationNode):
                self._activate(node)
        self.logits = self.centers[network.logits.index]

    def _fit(self, peak: Tensor) -> None:
        self.fits &= _largest(peak) < self.top

    def _entry_reach(self, ball: int, operator: Any) -> Tensor:
        reach = None
        for view in self.views[ball]:
            norms = row_norms(operator, view.columns, self.constants)
            each = _each(view.at(self.epsilon), norms) * norms
            reach = each if reach is None else tf.minimum(reach, each)
        return reach

    def _box(self, node: Node) -> Tensor:
        total = self.errors[node.index]
        for ball, operator in node.terms.items():
            total = total + self._entry_reach(ball, operator)
        return _up(total)

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
        carried = 0.0 if index is not None else absolute(error)
        if index is None:
            moved = absolute(self._box(source))
        else:
            moved = self._entry_reach(index, compose(operator.signless, source.terms[index]))
        flushed = float(operator.flushes.max()) * self.smallest
        self._fit((1.0 + executed) * (magnitude + moved))
        partial = 0.5 * (magnitude + tf.abs(center)) + own * magnitude
        at_center = _up(carried + sums * partial + (written + own) * magnitude + flushed)
        if index is not None:
            reach = self.views[index][0].at(self.epsilon)
            self.split[node.index] = at_center, _up(executed * operator.absolute_norm * reach)
        self.centers[node.index] = center
        self.errors[node.index] = _up(at_center + executed * moved)

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
        self.errors[node.index] = _up(error + rounding + 2 * count * self.smallest)

    def _activate(self, node: ActivationNode) -> None:
        source, activation = node.sources[0], node.activation
        z, rho = self.centers[source.index], self._box(source)
        if isinstance(activation, ProvedClippedReLU):
            output, high = self._clipped_relu(activation, z, rho)
            varies = tf.where(high > 0.0, tf.ones_like(high), high)
            closed, plain = self._closed(source, high), self._closed(source, varies)
            views = [_View(*closed, varies), _View(*plain, high)]
        else:
            assert isinstance(activation, ProvedMaxMin)
            output, rows, columns = self._maxmin(activation, z, rho)
            views = [_View(*self._closed(source, rows), columns)]
        self.centers[node.index], self.errors[node.index] = output, tf.zeros_like(z)
        self.views[node.index] = views

    def _closed(self, source: Node, rows: Tensor) -> tuple[Tensor, Tensor]:
        rounding = _l2(rows * self.errors[source.index])
        if source.index in self.split:
            entries, rest = self.split[source.index]
            rounding = tf.minimum(rounding, _up(_l2(rows * entries) + rest))
        gain = tf.zeros_like(self.epsilon)
        for ball, operator in source.terms.items():
            view = self.views[ball][0]
            norm = _up(operator.norm * _largest(rows) * self._weight(view))
            gain = _up(gain + _up(view.gain * norm))
            rounding = _up(rounding + _up(view.rounding * norm))
        return gain, rounding

    def _weight(self, view: _View) -> Tensor:
        return tf.ones_like(self.epsilon) if view.columns is None else _largest(view.columns)

    def _slope(self, away: Tensor, reach: Tensor, constant: Tensor) -> Tensor:
        divisor = tf.where(constant, tf.ones_like(reach), reach)
        soft = tf.minimum((1.0 - away / divisor) * (1.0 + PAD) + PAD, 1.0)
        return tf.where(constant, tf.zeros_like(soft), soft)

    def _clipped_relu(
        self, activation: ProvedClippedReLU, z: Tensor, rho: Tensor
    ) -> tuple[Tensor, Tensor]:
        theta = self.constants(activation.threshold)
        away = tf.maximum(tf.maximum(-z, z - theta), 0.0)
        constant = (rho <= away) | (theta <= 0.0)
        soft = self._slope(away, tf.minimum(rho, theta + away), constant)
        inside = (z > 0.0) & (z < theta) & ~constant
        high = tf.where(inside, tf.ones_like(soft), soft)
        return tf.minimum(tf.maximum(z, 0.0), theta), high

    def _maxmin(
        self, activation: ProvedMaxMin, z: Tensor, rho: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        axis = activation.axis
        p, q = tf.split(z, 2, axis=axis)
        rho_p, rho_q = tf.split(rho, 2, axis=axis)
        p_first, q_first = p - q >= rho_p + rho_q, q - p >= rho_p + rho_q
        reach = tf.maximum(rho_p, rho_q)
        reach_max = tf.where(p_first, rho_p, tf.where(q_first, rho_q, reach))
        reach_min = tf.where(p_first, rho_q, tf.where(q_first, rho_p, reach))
        upper, lower = self.constants(activation.upper), self.constants(activation.lower)
        largest, smallest = tf.maximum(p, q), tf.minimum(p, q)
        weights = []
        for beyond, rho_of in ((largest - upper, reach_max), (lower - smallest, reach_min)):
            away = tf.maximum(beyond, 0.0)
            weights.append(self._slope(away, rho_of, (rho_of <= away) | (rho_of <= 0.0)))
        high, low = weights
        pair = tf.maximum(high, low)
        rows_p = tf.where(p_first, high, tf.where(q_first, low, pair))
        rows_q = tf.where(p_first, low, tf.where(q_first, high, pair))
        # Where nothing varies both parts are zero, whatever they are divided by.
        divisor = tf.where(pair == 0.0, tf.ones_like(pair), pair)
        columns = []
        for part in weights:
            alone = tf.where(part > 0.0, tf.ones_like(part), part)
            mixed = tf.minimum(part / divisor * (1.0 + PAD), 1.0)
            columns.append(tf.where(p_first | q_first, alone, mixed))
        output = [tf.minimum(largest, upper), tf.maximum(smallest, lower)]
        return (
            tf.concat(output, axis),
            tf.concat([rows_p, rows_q], axis),
            tf.concat(columns, axis),
        )

    def lipschitz(self) -> Tensor:
        """Bound on the Lipschitz constant of the logits, `(batch,)`."""
        gain = tf.zeros_like(self.epsilon)
        for ball, operator in self.network.logits.terms.items():
            view = self.views[ball][0]
            gain = _up(gain + _up(view.gain * _up(operator.norm * self._weight(view))))
        return gain

    def logits_error(self) -> Tensor:
        """How far executed logits may be from the exact ones, `(batch, classes)`."""
        error = self.errors[self.network.logits.index]
        for ball, operator in self.network.logits.terms.items():
            view = self.views[ball][0]
            norms = row_norms(operator, view.columns, self.constants)
            error = _up(error + _each(view.rounding, norms) * norms)
        return error

    def margin(self, label: Tensor) -> Tensor:
        """Smallest margin of the label over the other classes, `(batch,)`."""
        own = tf.gather(self.logits, label, batch_dims=1)[:, None]
        gap = own - self.logits
        error = self.errors[self.network.logits.index]
        total = _up(error + tf.gather(error, label, batch_dims=1)[:, None])
        total += gamma(2, FLOAT64) * (tf.abs(self.logits) + tf.abs(gap))
        for ball, head in self.network.heads.items():
            errors = self.constants(self.network.head_errors[ball])
            written = tf.gather(errors, label)[:, None] + errors
            total = _up(total + self._closes(ball, self.constants(head), written, label))
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
            squares = tf.square((rows[:, None] - head[None]) * weights[:, None])
            norms = _up(tf.sqrt(tf.reduce_sum(squares, axis=2)) + written)
            bounds.append(norms * view.at(self.epsilon)[:, None])
        return tf.reduce_min(tf.stack(bounds), axis=0)
