"""The certified training step on TensorFlow."""

from typing import Any

import keras
import tensorflow as tf

from keraslip.models.robust_step import robust_step, track


class RobustTrainStep:
    """Overrides `train_step` and `test_step` of `keras.Model`."""

    def train_step(self: Any, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        share = _share_of_replica(y)
        # Norms do not need the batch: at the end of a stream they would be stored without there being one.
        batch = [part for part in tf.nest.flatten(data, True) if part is not None]
        with tf.GradientTape() as tape:
            with tf.control_dependencies(batch):
                loss, outcome = robust_step(self, x, y, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss * share)
        variables = self.trainable_weights
        gradients = tape.gradient(scaled, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return track(self, x, y, sample_weight, _of_replica(loss), outcome)

    def test_step(self: Any, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        loss, outcome = robust_step(self, x, y, sample_weight, training=False)
        return track(self, x, y, sample_weight, _of_replica(loss), outcome)

    def data_parallel(self: Any) -> None:
        """See `keraslip.distribution.data_parallel`."""
        raise NotImplementedError(
            "On TensorFlow the model is built and compiled inside tf.distribute.MirroredStrategy().scope(); "
            "fit then uses all devices. Received: data_parallel(model)"
        )

    def _maybe_symbolic_build(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
        if self._distribute_strategy is None:
            # The first of Keras' hooks in `fit` and `evaluate` that has the data set, and before it is read.
            if iterator is not None:
                iterator._distributed_dataset = untuned(iterator._distributed_dataset)
            # A step that makes variables, of the optimizer or of metrics, is traced a second time.
            batch = data_batch if iterator is None else iterator._distributed_dataset.element_spec
            if not self.run_eagerly and all(map(_is_shaped, keras.tree.flatten(batch))):
                self._symbolic_build(data_batch=batch)
            return
        # Keras adds the parts of the first batch up to learn their shape, and fails where sizes differ.
        if iterator is not None:
            strategy, iterator = self._distribute_strategy, iter(iterator)
            data_batch = keras.tree.map_structure(
                lambda part: strategy.experimental_local_results(part)[0], next(next(iterator)[2])
            )
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)  # type: ignore[misc]


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The data set without the autotuner of tf.data, unless its options ask for that.

    The thread of the autotuner looks at a pipeline after 10 ms, then after twice that time, and so on. When
    an iterator is given up at the end of an epoch, a race decides whether the thread hears of it
    (TensorFlow 2.21: callbacks run before the cancellation is marked) or `fit` waits until it looks again: at
    worst as long as the epoch took. Without it, AUTOTUNE stands for as many threads as there are cores.
    """
    if dataset.options().autotune.enabled is not None:
        return dataset
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _is_shaped(part: Any) -> bool:
    """Whether Keras can build metrics for a part of a batch: it has a dtype, and a shape of known rank."""
    return part is None or (hasattr(part, "dtype") and tf.TensorShape(part.shape).rank is not None)


def _replicas() -> int:
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def _share_of_replica(y: Any) -> Any:
    """Samples here over the mean of all replicas: 1 but in a batch that the replicas share unevenly."""
    if _replicas() == 1:
        return 1.0
    here = tf.cast(tf.shape(y)[0], "float32")
    context = tf.distribute.get_replica_context()
    return here * _replicas() / context.all_reduce(tf.distribute.ReduceOp.SUM, here)


def _of_replica(loss: Any) -> Any:
    """Keras divides losses by the number of replicas; logs show them undivided."""
    return loss * tf.cast(_replicas(), loss.dtype)
