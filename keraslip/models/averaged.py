"""Averages of the weights, as an optimizer of Keras with `use_ema` keeps them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keraslip.rules.derived import settle


@contextmanager
def averaged(model: Any) -> Iterator[None]:
    """A model has the averages of its weights inside, and the weights that are trained again afterwards.

    `keras.callbacks.SwapEMAWeights` swaps by additions on TensorFlow, which round: a run would hang on how
    often it is looked at.
    """
    if not averages(model):
        yield
        return
    weights = [keras.ops.convert_to_numpy(weight).copy() for weight in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    own_values(model)
    try:
        yield
    finally:
        for weight, value in zip(model.trainable_variables, weights, strict=True):
            weight.assign(value)
        settle(model)


def averages(model: Any) -> bool:
    """Whether a model's optimizer averages the weights."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of a loss' scale
    return bool(getattr(optimizer, "use_ema", False))


def own_values(model: Any) -> None:
    """Makes averages that Keras has put into a model weights like any others.

    Keras averages what a step reaches before constraints are applied. And on JAX a weight and its average
    would be one array, which evaluation gives away.
    """
    for weight in model.trainable_variables:
        within = weight.constraint or keras.ops.copy
        weight.assign(within(keras.ops.copy(weight)))
    settle(model)
