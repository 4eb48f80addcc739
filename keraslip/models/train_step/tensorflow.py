"""The certified training step on TensorFlow."""

from typing import Any

import keras
import tensorflow as tf

from keraslip.models.robust_step import robust_step, track


class RobustTrainStep:
    """Overrides `train_step` and `test_step` of `keras.Model`."""

    def train_step(self: Any, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss, outcome = robust_step(self, x, y, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_weights
        gradients = tape.gradient(scaled, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return track(self, x, y, sample_weight, _of_replica(loss), outcome)

    def test_step(self: Any, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        loss, outcome = robust_step(self, x, y, sample_weight, training=False)
        return track(self, x, y, sample_weight, _of_replica(loss), outcome)


def _of_replica(loss: Any) -> Any:
    """Keras divides losses by the number of replicas; logs show them undivided."""
    return loss * tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, loss.dtype)
