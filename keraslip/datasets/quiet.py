"""tensorflow_datasets without its chatter, and TensorFlow without taking the GPU."""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


def import_tfds() -> Any:
    """Import tensorflow_datasets, or say how to install it."""
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise ImportError(
            "This data set is read by tensorflow_datasets, which is not installed or does not "
            f'import ({error}): pip install "keraslip[datasets]"'
        ) from error


def require_tensorflow(purpose: str) -> None:
    """Import TensorFlow to read files with it, or say what it is needed for.

    With Keras on another backend it must leave the GPU's memory to that one.
    """
    if "tensorflow" in sys.modules:
        return
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            f'{purpose} needs TensorFlow, on any Keras backend: pip install "keraslip[tensorflow]"'
        )
    tensorflow = importlib.import_module("tensorflow")
    if keras.backend.backend() != "tensorflow":
        tensorflow.config.set_visible_devices([], "GPU")


@contextmanager
def quietly() -> Iterator[None]:
    """Let only errors of tensorflow_datasets be heard inside the block."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
