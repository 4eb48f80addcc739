"""Input gradients on TensorFlow."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def input_gradient(
    model: keras.Model, objective: Callable[..., Any]
) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """See `keraslip.backend.input_gradient`."""

    @tf.function(autograph=False)
    def step(x: tf.Tensor, *args: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            values = objective(model(x, training=False), *args)
        zero = tf.UnconnectedGradients.ZERO
        return values, tape.gradient(values, x, unconnected_gradients=zero)

    def call(x: np.ndarray, *args: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = step(*(tf.convert_to_tensor(a) for a in (x, *args)))
        return values.numpy(), gradients.numpy()

    return call


def compiled(
    model: keras.Model, function: Callable[..., list[Any]]
) -> Callable[..., list[np.ndarray]]:
    """See `keraslip.backend.compiled`."""
    step = tf.function(function, autograph=False, reduce_retracing=True)

    def call(*args: np.ndarray) -> list[np.ndarray]:
        return [out.numpy() for out in step(*(tf.convert_to_tensor(a) for a in args))]

    return call


def reduced_precision() -> str | None:
    """See `keraslip.backend.reduced_precision`."""
    if tf.config.list_physical_devices("GPU"):
        if tf.config.experimental.tensor_float_32_execution_enabled():
            return (
                "TensorFlow computes in TF32 on this GPU; switch it off with "
                "tf.config.experimental.enable_tensor_float_32_execution(False)."
            )
    return None


def place_among_processes() -> tuple[int, int]:
    """See `keraslip.backend.place_among_processes`."""
    cluster = tf.distribute.get_strategy().cluster_resolver
    if cluster is None or cluster.task_id is None:
        return 0, 1
    return cluster.task_id, len(cluster.cluster_spec().as_dict().get("worker", [0]))
