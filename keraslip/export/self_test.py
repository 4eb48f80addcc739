"""What an artefact carries to be tested where it is served: some inputs, and what they have to come to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.bound.network import Network
from keraslip.certify.execution.emulation import Emulation, emulate
from keraslip.certify.execution.executed import EXCESS
from keraslip.certify.execution.probe_inputs import probes
from keraslip.certify.norms.rounding import Execution

FILE = "self_test.npz"
#: Inputs in an artefact.
_SAMPLES = 8


@dataclass(frozen=True, eq=False)
class SelfTest:
    """Inputs and their logits."""

    x: np.ndarray  #: Dense random inputs `(n, *shape)`, float32.
    emulation: Emulation  #: Their logits, and what float32 makes of them.
    share: float  #: Part of the error that float32 may make at worst which no real one exceeds.

    @classmethod
    def of(cls, model: Any, network: Network) -> "SelfTest":
        """The self-test of a model."""
        x = probes(model, _SAMPLES)
        emulation = emulate(network, x)
        return cls(x, emulation, _share(network, x, emulation))

    def arrays(self) -> dict[str, np.ndarray]:
        """All that a test needs, by name: the ratio is `rms((found - logits) / scale) / error`."""
        emulation = self.emulation
        return {
            "x": self.x,
            "logits": emulation.exact,
            "scale": emulation.scale,
            "error": np.array(emulation.error),
            "limit": np.array(EXCESS),
        }

    def save(self, folder: Path) -> None:
        """Writes the arrays beside an artefact."""
        np.savez(folder / FILE, **self.arrays())  # type: ignore[arg-type]


def ratio(folder: Path, logits: np.ndarray) -> float:
    """How many times as much as float32 served logits of the self-test's `x` err."""
    with np.load(folder / FILE) as test:
        off = (logits - test["logits"]) / test["scale"][:, None]
        return float(np.sqrt(np.mean(np.square(off))) / test["error"])


def _share(network: Network, x: np.ndarray, emulation: Emulation) -> float:
    """The largest error that an execution may have on average, as a share of what is allowed at worst."""
    evaluate = Evaluator(network, Execution.of("float32"))
    worst = evaluate(x, np.zeros(len(x), "int64"), np.zeros(len(x))).error
    with np.errstate(all="ignore"):
        typical = np.median(emulation.error * emulation.scale[:, None] / worst)
    return float(min(1.0, EXCESS * typical)) if np.isfinite(typical) else 1.0
