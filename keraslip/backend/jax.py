"""Input gradients on JAX."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import keras
import numpy as np

from keraslip.backend.environment import reduced_by_variable
from keraslip.backend.structure import packed, unpacked
from keraslip.typing import Compiled, Function, Gradient

#: Precisions of products that no backend of JAX computes in less than float32.
_FULL = ("highest", "float32", "f32_f32_f32", "f64_f64_f64")


def input_gradient(model: keras.Model, objective: Callable[..., Any]) -> Gradient:
    def total(x: jax.Array, weights: tuple, args: tuple) -> tuple[jax.Array, jax.Array]:
        logits, _ = model.stateless_call(*weights, packed(model, x), training=False)
        values = objective(unpacked(logits), *args)
        return values.sum(), values

    step = jax.jit(jax.grad(total, has_aux=True))

    def call(x: np.ndarray, *args: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Weights are arguments, else the values of the first call would be constants of the trace.
        groups = model.trainable_variables, model.non_trainable_variables
        weights = tuple([v.value for v in group] for group in groups)
        gradients, values = step(_shared_out(x), weights, tuple(map(_shared_out, args)))
        return np.asarray(values), np.asarray(gradients)

    return call


def compiled(model: keras.Model, function: Function) -> Compiled:
    @jax.jit
    def step(weights: list[jax.Array], args: tuple) -> list[jax.Array]:
        mapping = list(zip(model.variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return function(*args)

    def call(*args: np.ndarray) -> list[np.ndarray]:
        weights = [v.value for v in model.variables]
        return [np.asarray(out) for out in step(weights, tuple(map(_shared_out, args)))]

    return call


def _shared_out(x: Any) -> Any:
    """An argument split over the devices of Keras' distribution, where they can share it evenly."""
    distribution = keras.distribution.distribution()
    # Answers must come back whole to the process that asks.
    if distribution is None or jax.process_count() > 1 or np.ndim(x) == 0:
        return x
    sharding = distribution.get_data_layout(x.shape).backend_layout
    try:
        sharding.shard_shape(x.shape)
    except ValueError:
        return x
    return jax.device_put(x, sharding)


def ways_to_run() -> dict[str, Callable[..., Any]]:
    # A function that is not compiled runs the same primitives.
    return {"compiled": compiled}


def reduced_precision() -> str | None:
    # In force in this thread: set for all, or by `with jax.default_matmul_precision(...)`.
    precision = str(jax.config.jax_default_matmul_precision or "default").lower()
    full = precision in _FULL
    if jax.default_backend() == "cpu":
        # The default is full precision on CPUs, and TF32 or bfloat16 on accelerators.
        full = full or precision in ("default", "high")
    if not full:
        return (
            f"JAX may compute products in fewer digits: jax_default_matmul_precision is {precision!r}; "
            "switch that off with jax.config.update('jax_default_matmul_precision', 'highest'), and "
            "outside of jax.default_matmul_precision."
        )
    return reduced_by_variable({}, xla=True)


def hooked(layers: Iterable[Any]) -> str | None:
    return None


def place_among_processes() -> tuple[int, int]:
    return jax.process_index(), jax.process_count()


def foolbox_model(foolbox: Any, model: keras.Model, bounds: tuple[float, float]) -> Any:
    return foolbox.JAXModel(model, bounds=bounds)
