"""The overridden training step of the active backend."""

import keras

_active = keras.backend.backend()

if _active == "tensorflow":
    from keraslip.models.train_step.tensorflow import RobustTrainStep
elif _active == "jax":
    from keraslip.models.train_step.jax import RobustTrainStep
elif _active == "torch":
    from keraslip.models.train_step.torch import RobustTrainStep
else:
    raise ImportError(
        "keraslip trains on Keras' tensorflow, jax and torch backends; set KERAS_BACKEND to one of "
        f"them. Received: {_active}"
    )

__all__ = ["RobustTrainStep"]
