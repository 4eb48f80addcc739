"""The overridden training step of the active backend."""

from importlib import import_module

import keras

_active = keras.backend.backend()

if _active in ("tensorflow", "jax", "torch"):
    RobustTrainStep = import_module(f"keraslip.models.train_step.{_active}").RobustTrainStep
else:
    raise ImportError(
        "keraslip trains on Keras' tensorflow, jax and torch backends; set KERAS_BACKEND to one of "
        f"them. Received: {_active}"
    )

__all__ = ["RobustTrainStep"]
