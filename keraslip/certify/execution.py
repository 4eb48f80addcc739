"""The network as executed: its logits, and whether they are as near to the exact ones as they must be."""

from typing import Any

import keras
import numpy as np

from keraslip import backend
from keraslip.certify.precision import check_backend
from keraslip.certify.violation import violated
from keraslip.models.kept import kept

#: Rounding between two executions, as a share of the largest logit; beyond it a function is traced again.
_ROUNDING = 1e-5


class Executed:
    """Runs the model in Keras' backend, in batches of one shape.

    Args:
        model: The model.
        batch_size: Samples in a batch.
    """

    def __init__(self, model: Any, batch_size: int) -> None:
        self._model, self._size = model, batch_size
        self._call = self._kept()
        self._checked = False

    def _kept(self, again: bool = False) -> Any:
        model = self._model

        def build() -> Any:
            return backend.compiled(model, lambda x: [model(x, training=False)])

        return kept(model, "logits", build, again)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)` of inputs `(n, *shape)`.

        Raises:
            ValueError: if a switch for less precision than float32 is on by now.
        """
        check_backend()
        if not self._checked and len(x):
            self._checked = True
            if not self._is_fresh(x[:1]):
                self._call = self._kept(again=True)
        return self._logits(x)

    def _is_fresh(self, x: np.ndarray) -> bool:
        """Whether the kept function computes what the layers compute now, on one input and on noise."""
        # For what no signature shows: a layer that reads a file, or what another one holds.
        noise = np.random.default_rng(0).uniform(size=x.shape).astype(x.dtype)
        # One by one, as the attack asks for its first logits: JAX compiles every operation for a shape.
        eager = [
            keras.ops.convert_to_numpy(
                self._model(keras.ops.convert_to_tensor(one), training=False)
            )
            for one in (x, noise)
        ]
        known, found = np.concatenate(eager), self._logits(np.concatenate([x, noise]))
        return _is_near(found, known)

    def _logits(self, x: np.ndarray) -> np.ndarray:
        parts = []
        for first in range(0, len(x), self._size):
            rows = x[first : first + self._size]
            filled = np.concatenate([rows, rows[-1:].repeat(self._size - len(rows), 0)])
            parts.append(self._call(filled)[0][: len(rows)])
        return np.concatenate(parts)


def _is_near(found: np.ndarray, known: np.ndarray) -> bool:
    """Whether two executions differ by rounding only; what overflows may do so in one of them."""
    finite = np.isfinite(known) & np.isfinite(found)
    size = np.abs(known).max(where=finite, initial=0.0)
    return bool((np.abs(found[finite] - known[finite]) <= _ROUNDING * size).all())


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
