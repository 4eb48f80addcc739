"""Small models and few digits for searches."""

import keras
import pytest

from keraslip import LocalLipschitzModel, datasets, layers

#: keras-tuner asks a thread for its name in the way of older Pythons, and its Gaussian process says
#: that three points are few.
THEIR_WARNINGS = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning:keras_tuner"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning:keras_tuner"),
    pytest.mark.filterwarnings("ignore:The optimal value found::sklearn"),
]


def tiny(threshold: float = 1.0, width: float = 1.0) -> LocalLipschitzModel:
    """A few units on digits."""
    assert type(threshold) is float and type(width) is float
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(inputs)
    x = layers.MaskedLipschitzDense(int(4 * width), name="hidden")(x)
    x = layers.ClippedReLU(threshold, name="clip")(x)
    return LocalLipschitzModel(inputs, layers.MaskedLipschitzDense(10, name="logits")(x))


def few():
    """Arguments of `search`: two steps an epoch."""
    digits = datasets.load("digits")
    return {
        "x": digits.x_train[:32],
        "y": digits.y_train[:32],
        "batch_size": 16,
        "validation_data": (digits.x_val[:20], digits.y_val[:20]),
        "verbose": 0,
    }


JAX = keras.backend.backend() == "jax"
#: Compiling costs more than these few steps; JAX compiles every operation if it may not compile the whole.
UNCOMPILED = {"compile_options": {"run_eagerly": not JAX}, "seed": 0}
#: On every backend test_search.py has one whole search, and tests/models what trials call.
searches_alone = pytest.mark.any_backend("keras-tuner, files and messages")
