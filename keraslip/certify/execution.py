"""The network as executed: its logits, and whether they are as near to the exact ones as they must be."""

from typing import Any

import numpy as np

from keraslip import backend
from keraslip.certify.precision import check_backend
from keraslip.certify.violation import violated


class Executed:
    """Runs the model in Keras' backend, in batches of one shape.

    Args:
        model: The model.
        batch_size: Samples in a batch.
    """

    def __init__(self, model: Any, batch_size: int) -> None:
        self._size = batch_size
        cache = model.__dict__.setdefault("_keraslip_functions", {})
        if "logits" not in cache:
            cache["logits"] = backend.compiled(model, lambda x: [model(x, training=False)])
        self._call = cache["logits"]

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)` of inputs `(n, *shape)`.

        Raises:
            ValueError: if a switch for less precision than float32 is on by now.
        """
        check_backend()
        parts = []
        for first in range(0, len(x), self._size):
            rows = x[first : first + self._size]
            filled = np.concatenate([rows, rows[-1:].repeat(self._size - len(rows), 0)])
            parts.append(self._call(filled)[0][: len(rows)])
        return np.concatenate(parts)


def self_check(x: np.ndarray, executed: np.ndarray, exact: np.ndarray, error: np.ndarray) -> None:
    """Compares executed logits with those in float64.

    Args:
        x: Inputs of certified samples.
        executed: Logits as executed, `(n, classes)`.
        exact: Logits in float64.
        error: How far they may be apart.

    Raises:
        CertificateViolation: if they are further apart: the execution rounds more than float32 may.
    """
    wrong = ~(np.abs(executed - exact) <= error).all(axis=1)
    if wrong.any():
        i = int(np.argmax(wrong))
        distance = float(np.abs(executed[i] - exact[i]).max())
        raise violated(
            f"The executed logits are {distance:.3g} away from the exact ones, where float32 allows "
            f"{float(error[i].max()):.3g}: the backend computes with less precision than it says.",
            x=x[i],
            executed=executed[i],
            exact=exact[i],
            error=error[i],
        )
