"""Averages of the weights, as an optimizer of Keras with `use_ema` keeps them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


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
    constrain(model)
    try:
        yield
    finally:
        for weight, value in zip(model.trainable_variables, weights, strict=True):
            weight.assign(value)


def averages(model: Any) -> bool:
    """Whether a model's optimizer averages the weights."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of a loss' scale
    return bool(getattr(optimizer, "use_ema", False))


def constrain(model: Any) -> None:
    """Applies the weights' constraints: Keras averages what a step reaches before they are applied."""
    for weight in model.trainable_variables:
        if weight.constraint is not None:
            weight.assign(weight.constraint(weight))
