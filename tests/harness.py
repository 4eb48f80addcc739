"""What tests of bounds share, on top of `keraslip.testing`.

`run_rule_test` samples points of a ball against every bound of training that a pass has claimed:

    run_rule_test(lambda x: keras.layers.Flatten()(x), (4, 4, 2))
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

import keraslip
from keraslip.testing.claims import FixedVectors as FixedVectors
from keraslip.testing.claims import Pass as Pass
from keraslip.testing.claims import activations as activations
from keraslip.testing.claims import claims
from keraslip.testing.rules import assert_sound as assert_sound
from keraslip.testing.rules import assert_tighter as assert_tighter
from keraslip.testing.rules import check_bounds
from keraslip.testing.rules import inside as inside
from keraslip.testing.rules import randomise as randomise
from keraslip.testing.rules import surrounded as model_of

Array = np.ndarray


def numpy(x: Any) -> Array:
    """A tensor as a NumPy array, gradient or not."""
    return np.array(ops.convert_to_numpy(x))


def tensor(x: Any, dtype: str = "float32") -> Any:
    """A NumPy array as a tensor; a tensor as it is."""
    return ops.convert_to_tensor(x if ops.is_tensor(x) else np.asarray(x), dtype)


def at_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors, as a whole on JAX, which compiles every operation for itself otherwise."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def gradient(function: Callable[[Any], Any], x: Array) -> Array:
    """Gradient of a scalar function of one tensor, on the active backend."""
    backend = keras.backend.backend()
    value = tensor(x)
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(value)
            result = function(value)
        found = tape.gradient(result, value)
        return np.zeros_like(x) if found is None else numpy(found)
    if backend == "jax":
        import jax

        return numpy(jax.jit(jax.grad(lambda v: ops.reshape(function(v), ())))(value))
    value = value.detach().clone().requires_grad_(True)
    result = function(value)
    if result.requires_grad:
        result.sum().backward()
    return np.zeros_like(x) if value.grad is None else numpy(value.grad)


def matrix_of(linear_map: Any) -> Array:
    """The dense matrix `(out, in)` of a linear map, in float64, from its forward application."""
    size = int(np.prod(linear_map.in_shape))
    images = linear_map.forward(tensor(np.eye(size).reshape(size, *linear_map.in_shape)))
    assert tuple(images.shape) == (size, *linear_map.out_shape)
    return numpy(images).astype("float64").reshape(size, -1).T


def bound(
    model: keras.Model,
    x: Array,
    epsilon: Any,
    mode: str = "local",
    label: Array | None = None,
    power_iterations: int | None = None,
    tight: bool = False,
) -> Pass:
    """What one pass claims, see `keraslip.testing.claims`: with exact norms, or by power iteration."""
    return claims(model, x, epsilon, mode, label, power_iterations, tight)


def run_rule_test(
    build: Callable[[Any], Any] | keras.Model,
    input_shape: tuple[int, ...],
    epsilons: tuple[float, ...] = (0.05, 0.5),
    modes: tuple[str, ...] = ("local", "global", "paper"),
    samples: int = 2,
    count: int = 150,
    pgd: bool = False,
    seed: int = 0,
    tight: bool = False,
) -> keraslip.LocalLipschitzModel:
    """Judges the bounds of training of some layers by sampling, in every mode.

    Args:
        build: A function from the input tensor to the layers' output, or a whole model.
        input_shape: Shape of one input.
        epsilons: Radii.
        modes: Ways to bound.
        samples: Centers.
        count: Random directions for each center; sphere, inside and corners get as many each.
        pgd: Whether attacked points are tried too.
        seed: Of weights and points.
        tight: Masked row norms of convolutions too.

    Returns:
        The model that was built, for further questions.
    """
    model = build if isinstance(build, keras.Model) else model_of(build, input_shape, seed=seed)
    x = np.random.default_rng(seed + 1).uniform(size=(samples, *input_shape)).astype("float32")
    check_bounds(model, x, epsilons, modes, count, tight, pgd)
    return model
