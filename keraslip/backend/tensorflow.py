"""Input gradients on TensorFlow."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from keraslip.backend.environment import OFF, reduced_by_variable
from keraslip.backend.structure import logits_of
from keraslip.typing import Compiled, Function, Gradient

#: Environment variables that TensorFlow obeys, with the values that leave float32 alone.
_VARIABLES = {
    "TF_SET_ONEDNN_FPMATH_MODE": ("strict",),
    "TF_ENABLE_AUTO_MIXED_PRECISION": OFF,
    "TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE": OFF,
    "ITEX_AUTO_MIXED_PRECISION": OFF,
    "ITEX_FP32_MATH_MODE": ("fp32",),
}


def input_gradient(model: keras.Model, objective: Callable[..., Any]) -> Gradient:
    @tf.function(autograph=False)
    def step(x: tf.Tensor, *args: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            values = objective(logits_of(model, x), *args)
        zero = tf.UnconnectedGradients.ZERO
        return values, tape.gradient(values, x, unconnected_gradients=zero)

    def call(x: np.ndarray, *args: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = step(*(tf.convert_to_tensor(a) for a in (x, *args)))
        return values.numpy(), gradients.numpy()

    return call


def compiled(model: keras.Model, function: Function) -> Compiled:
    return _eager(model, tf.function(function, autograph=False, reduce_retracing=True))


def ways_to_run() -> dict[str, Callable[..., Any]]:
    # The optimizer of graphs rewrites what is compiled, sometimes to something else.
    return {"compiled": compiled, "eager": _eager}


def _eager(model: keras.Model, function: Function) -> Compiled:
    def call(*args: np.ndarray) -> list[np.ndarray]:
        return [out.numpy() for out in function(*(tf.convert_to_tensor(a) for a in args))]

    return call


def reduced_precision() -> str | None:
    if tf.config.list_physical_devices("GPU"):
        if tf.config.experimental.tensor_float_32_execution_enabled():
            return (
                "TensorFlow computes in TF32 on this GPU; switch it off with "
                "tf.config.experimental.enable_tensor_float_32_execution(False)."
            )
    for option in _graph_options():
        if "mixed_precision" in option:
            return (
                f"TensorFlow rewrites graphs to fewer digits: {option} is on; switch it off with "
                f"tf.config.optimizer.set_experimental_options({{{option!r}: False}})."
            )
    return reduced_by_variable(_VARIABLES, xla=True)


def _graph_options() -> list[str]:
    """Options of TensorFlow's graph optimizer that are on."""
    options = dict(tf.config.optimizer.get_experimental_options())
    # What was asked for; the public function leaves out what this version does not know.
    options |= getattr(context.context(), "_optimizer_experimental_options", {})
    return [name for name, value in options.items() if value]


def hooked(layers: Iterable[Any]) -> str | None:
    return None


def place_among_processes() -> tuple[int, int]:
    cluster = tf.distribute.get_strategy().cluster_resolver
    if cluster is None or cluster.task_id is None:
        return 0, 1
    return cluster.task_id, len(cluster.cluster_spec().as_dict().get("worker", [0]))


def foolbox_model(foolbox: Any, model: keras.Model, bounds: tuple[float, float]) -> Any:
    # Left out, Foolbox asks TensorFlow for the device in a way that warns.
    device = "/GPU:0" if tf.config.list_physical_devices("GPU") else "/CPU:0"
    return foolbox.TensorFlowModel(model, bounds=bounds, device=device)
