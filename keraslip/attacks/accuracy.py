"""Accuracy under attack."""

from typing import Any

import keras
import numpy as np

from keraslip.attacks.pgd import pgd_l2
from keraslip.backend.calls import fresh_predictions


def accuracy_under_attack(
    model: keras.Model, x: Any, y: Any, epsilon: Any, batch_size: int = 256, **options: Any
) -> float:
    """Fraction of samples that are classified correctly and stay so under `pgd_l2`.

    An upper bound of the robust accuracy, as certified accuracy is a lower one.

    Args:
        model: Any Keras model that maps `(batch, ...)` to logits `(batch, classes)`.
        x: Inputs, `(batch, ...)`, inside the input range.
        y: True classes, integers of shape `(batch,)`.
        epsilon: L2 radius in input units, a number or one for each sample.
        batch_size: Largest number of samples the model sees at once.
        **options: Further arguments of `pgd_l2`.

    Returns:
        A fraction in [0, 1]. Logits that are not finite count as wrong.

    Example:
        ```python
        accuracy = keraslip.attacks.accuracy_under_attack(model, x_test, y_test, epsilon=0.25)
        ```
    """
    attacked = pgd_l2(model, x, y, epsilon, batch_size=batch_size, **options)
    right, _ = correct(model, attacked, y, batch_size)
    return float(np.mean(right))


def correct(
    model: keras.Model, x: np.ndarray, y: Any, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Which samples are classified correctly, and the predicted classes, both `(batch,)`.

    Logits that are not finite count as wrong.
    """
    logits = fresh_predictions(model, x, batch_size)
    predicted = logits.argmax(axis=1)
    labels = np.reshape(keras.ops.convert_to_numpy(y), -1)
    return np.isfinite(logits).all(axis=1) & (predicted == labels), predicted
