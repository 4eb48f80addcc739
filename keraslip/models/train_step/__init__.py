"""The overridden training step of the active backend."""

from importlib import import_module
from typing import Any

import keras

from keraslip import backend as backend  # it says which backends there are

_active = import_module(f"keraslip.models.train_step.{keras.backend.backend()}")
RobustTrainStep: Any = _active.RobustTrainStep
