"""The network as executed: its logits, and whether they are as near to the exact ones as they must be.

A certificate allows for the worst rounding, which is hundreds of times what float32 does: bfloat16 can stay
below it at the center of a ball and leave it elsewhere. So an execution is judged by its mean error as well.
"""

from typing import Any

import keras
import numpy as np

from keraslip import backend
from keraslip.backend.calls import in_batches
from keraslip.backend.structure import logits_of
from keraslip.certify.bound.network import Network
from keraslip.certify.execution.emulation import Emulation, emulate, rows_of
from keraslip.certify.execution.precision import REMEDY, ReducedPrecisionError, check_backend
from keraslip.certify.execution.probe_inputs import probes
from keraslip.certify.execution.violation import violated
from keraslip.rules import MismatchError
from keraslip.rules.kept import kept

#: Batches of fewer samples are filled up to this number: few are run apart from the many.
FEW = 32

#: Rounding between two executions, as a share of the largest logit; beyond it a function is traced again.
_ROUNDING = 1e-5

#: Rms error that an execution may have, in units of that of float32. Real ones have 1, sums one by one or by
#: Winograd's method up to 10; TF32 and float16 have hundreds, bfloat16 thousands.
EXCESS = 30.0


class Executed:
    """Runs the model in Keras' backend, in batches of two shapes."""

    def __init__(self, model: Any, batch_size: int) -> None:
        self._model, self._size = model, batch_size
        self._call = self._kept()
        self._checked: set[int] = set()
        #: Inputs and logits of samples that were run alone and made others than in a batch.
        self._alone: list[tuple[np.ndarray, np.ndarray]] = []

    def _kept(self, again: bool = False) -> Any:
        model = self._model

        def build() -> Any:
            return backend.compiled(model, lambda x: [logits_of(model, x)])

        return kept(model, "logits", build, again)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)` of inputs `(n, *shape)`; refused in less than float32."""
        check_backend()
        size = self._size if len(x) > FEW else min(FEW, self._size)
        if size in self._checked or not len(x):
            return self._logits(x, size)
        self._checked.add(size)
        first, rest = x[:size], x[size:]
        return np.concatenate([self._first(first, size), self._logits(rest, size)])

    def _first(self, x: np.ndarray, size: int) -> np.ndarray:
        """Logits of the first batch; the kept function is traced again if it is not what the layers compute.

        For what no signature shows: a layer that reads a file, or what another one holds.
        """
        noise = np.random.default_rng(0).uniform(size=x[:1].shape).astype(x.dtype)
        # Noise where the batch has room for it.
        filled = np.concatenate([x, noise])[:size]
        # One by one, as the attack asks for its first logits: JAX compiles every operation for a shape.
        eager = [
            keras.ops.convert_to_numpy(logits_of(self._model, keras.ops.convert_to_tensor(one)))
            for one in (filled[:1], filled[-1:])
        ]
        logits = self._logits(filled, size)
        if not _is_near(logits[[0, -1]], np.concatenate(eager)):
            self._call = self._kept(again=True)
            logits = self._logits(filled, size)
            if not _is_near(logits[[0, -1]], np.concatenate(eager)):
                self._alone.append((filled[[0, -1]], np.concatenate(eager)))
        return logits[: len(x)]

    def check_alone(self, network: Network) -> None:
        """Raises a MismatchError where a sample alone is another to the network than in a batch."""
        while self._alone:
            x, logits = self._alone.pop()
            excess = emulate(network, x).excess(logits)
            if excess > EXCESS:
                raise MismatchError(
                    f"A sample alone has other logits than in a batch: they err {excess:.0f} times as much "
                    "as those of float32 do. A layer acts on the size of the batch; certificates are about "
                    "samples, whatever their number. Write that layer without it. "
                    f"Received: batches of 1 and {self._size}"
                )

    def _logits(self, x: np.ndarray, size: int) -> np.ndarray:
        if not len(x):
            return np.zeros((0, self._model.outputs[0].shape[-1]), "float32")
        return in_batches(self._call, [x], size)[0]


def _is_near(found: np.ndarray, known: np.ndarray) -> bool:
    """Whether two executions differ by rounding only."""
    finite = np.isfinite(known)
    if (finite != np.isfinite(found)).any():
        return False
    size = np.abs(known).max(where=finite, initial=0.0)
    return bool((np.abs(found[finite] - known[finite]) <= _ROUNDING * size).all())


def check_rounding(network: Network, x: np.ndarray, executed: np.ndarray) -> None:
    """Raises a ReducedPrecisionError if the mean error on some samples is more than float32's."""
    finite = np.flatnonzero(np.isfinite(executed).all(axis=1))
    if not len(finite):
        return
    rows = finite[np.unique(np.linspace(0, len(finite) - 1, rows_of(network)).astype(int))]
    _judge(emulate(network, x[rows]), executed[rows])


def check_probes(model: Any, network: Network, executed: Executed) -> None:
    """The same by dense random inputs, whatever there is to certify."""
    x = probes(model, rows_of(network))
    key = x.tobytes()
    if key not in network.emulations:
        network.emulations[key] = emulate(network, x)
    _judge(network.emulations[key], executed.logits(x))
    executed.check_alone(network)


def _judge(emulation: Emulation, executed: np.ndarray) -> None:
    excess = emulation.excess(executed)
    if excess > EXCESS:
        raise ReducedPrecisionError(
            f"The backend computes in less than float32: its logits err {excess:.0f} times as much as those "
            f"of float32 do, and certificates are about float32 execution. Remedy: {REMEDY}; if none is on, "
            "a layer computes something else than its rule says. "
            f"Received: backend {keras.backend.backend()!r}"
        )


def self_check(x: np.ndarray, executed: np.ndarray, exact: np.ndarray, error: np.ndarray) -> None:
    """Raises a CertificateViolation where executed logits are too far from those in float64."""
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
