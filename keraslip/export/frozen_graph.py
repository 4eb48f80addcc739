"""The frozen certificate as a TensorFlow graph: global proved norms and anchored slopes, in float64."""

import numpy as np
import tensorflow as tf

from keraslip.certify.bound.network import Network
from keraslip.certify.norms.rounding import SMALLEST, Execution
from keraslip.export.frozen_pass import FrozenPass
from keraslip.export.graph_arithmetic import Graph
from keraslip.typing import Tensor

#: More than a cast to float32 changes a number by.
_CAST = 2.0**-23


class FrozenGraph:
    """Certificates of one network, its norms frozen.

    Args:
        network: The network.
        share: Part of the error that float32 may make at worst up to which logits are taken for float32's.
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
