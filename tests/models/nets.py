"""Tiny networks and data that the tests of the model share."""

from typing import Any

import keras
import numpy as np

import keraslip

FEATURES, CLASSES, SAMPLES = 6, 3, 24
EPSILON = 0.1
LOGS = {"loss", "accuracy", "certified_accuracy", "lipschitz", "epsilon", "varying"}
FIT_LOGS = LOGS | {"lipschitz_gap"}


def dense_net(units: int = 8, dropout: float = 0.0, **kwargs: Any) -> Any:
    """Two dense layers with a clipped ReLU between them."""
    inputs = keras.Input((FEATURES,))
    x = keraslip.layers.MaskedLipschitzDense(units, name="first")(inputs)
    x = keraslip.layers.ClippedReLU(threshold=0.5, name="clip")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=3)(x)
    outputs = keraslip.layers.MaskedLipschitzDense(CLASSES, name="logits")(x)
    return keraslip.LocalLipschitzModel(inputs, outputs, **kwargs)


def conv_net() -> Any:
    """A convolution, a clipped MaxMin and a dense layer on 8 x 8 images."""
    inputs = keras.Input((8, 8, 1))
    x = keraslip.layers.MaskedLipschitzConv2D(4, 3, strides=2, padding="same")(inputs)
    x = keraslip.layers.ClippedMaxMin()(x)
    x = keras.layers.Flatten()(x)
    outputs = keraslip.layers.MaskedLipschitzDense(CLASSES)(x)
    return keraslip.LocalLipschitzModel(inputs, outputs)


def fused_net(dropout: float = 0.0) -> Any:
    """Dense layers with activations that are layers with weights of their own, as arguments."""
    inputs = keras.Input((FEATURES,))
    clip = keraslip.layers.ClippedReLU(threshold=0.5)
    x = keraslip.layers.MaskedLipschitzDense(8, activation=clip)(inputs)
    x = keras.layers.Dense(8, activation=keras.layers.PReLU("random_uniform"))(x)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=3)(x)
    return keraslip.LocalLipschitzModel(inputs, keras.layers.Dense(CLASSES)(x))


def compiled(model: Any, optimizer: Any = "sgd", **kwargs: Any) -> Any:
    """The model, compiled; on TensorFlow without XLA, which takes longer than the run, unless given."""
    if keras.backend.backend() == "tensorflow":
        kwargs.setdefault("jit_compile", False)
    model.compile(optimizer, **{"epsilon": EPSILON, **kwargs})
    return model


#: Models by how they are compiled, each with the values of its variables at the start; taken by this test.
POOL: dict[str, list[Any]] = {}
IN_USE: dict[str, int] = {}
#: Where the step is not the point: without compiling it. JAX would compile every operation instead.
UNCOMPILED: dict[str, Any] = {} if keras.backend.backend() == "jax" else {"run_eagerly": True}


def ready(**kwargs: Any) -> Any:
    """A compiled `dense_net` as it is at the start, from an earlier test if there is one.

    Compiling takes long. For tests that change nothing but variables. Two calls in one test give two models.
    """
    key, number = repr(kwargs), IN_USE.get(repr(kwargs), 0)
    IN_USE[key] = number + 1
    keras.utils.set_random_seed(1)
    taken = POOL.setdefault(key, [])
    if number == len(taken):
        model = compiled(dense_net(), **kwargs)
        model.optimizer.build(model.trainable_variables)
        taken.append((model, [np.array(keras.ops.convert_to_numpy(v)) for v in state_of(model)]))
    model, start = taken[number]
    for variable, value in zip(state_of(model), start, strict=True):
        variable.assign(value)
    model.reset_metrics()
    model.stop_training = False
    return model


def state_of(model: Any) -> list[Any]:
    """All that steps change."""
    return [*model.variables, *model.optimizer.variables]


def samples(count: int = SAMPLES, shape: tuple[int, ...] = (FEATURES,), seed: int = 0) -> Any:
    """Inputs in [0, 1] whose class is the largest of their first numbers."""
    x = np.random.default_rng(seed).uniform(size=(count, *shape)).astype("float32")
    return x, x.reshape(count, -1)[:, :CLASSES].argmax(axis=1).astype("int32")


def weights_of(model: Any) -> list[np.ndarray]:
    """Copies of all weights."""
    return [np.array(w) for w in model.get_weights()]


def assert_same(left: list[np.ndarray], right: list[np.ndarray], tolerance: float = 0.0) -> None:
    """Two lists of weights are equal."""
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
