"""What float32 makes of a network: the yardstick for the errors of an execution."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip.certify.bound.network import ActivationNode, LinearNode, Network
from keraslip.certify.norms.rounding import FLOAT32, SMALLEST, per_sample

#: Rounding that is added to each step, in units of roundoff: times the magnitudes it sums, and times the sum
#: and the root of the number n of terms. NumPy may be exact where another order is not, and sums in blocks;
#: one by one, terms of both signs err by about half of the former, terms of one sign by sqrt(n) / 3.
_NOISE, _DRIFT = 0.25, 0.03
#: Samples that are run. Fewer are run several times, with other noise: one error may be small by chance.
_ROWS, _FEWEST = 16, 4
#: Bytes that a run may take, about.
_MEMORY = 2**28


def rows_of(network: Network) -> int:
    """How many samples are worth running: 16, or what memory holds."""
    return int(np.clip(_MEMORY // (96 * network.widest), _FEWEST, _ROWS))


@dataclass(frozen=True, eq=False)
class Emulation:
    """Logits of some samples, exact and in float32.

    Args:
        exact: Logits in float64, `(n, classes)`.
        scale: Magnitude of what every sample's logits sum, `(n,)`.
        error: Rms error of float32 in units of the scale.
    """

    exact: np.ndarray
    scale: np.ndarray
    error: float

    def excess(self, executed: np.ndarray) -> float:
        """How many times the error of float32 an execution errs; NaN if it says nothing.

        Args:
            executed: Logits as executed, `(n, classes)`.
        """
        found = _rms(executed.astype("float64") - self.exact, self.scale)
        # What float32 computes without error no other execution may change.
        return found / self.error if self.error else np.inf if found else 0.0 * found


def emulate(network: Network, x: np.ndarray) -> Emulation:
    """Runs some samples in float64, and step by step in NumPy's float32.

    Args:
        network: The network.
        x: Inputs `(n, *shape)`, float32.
    """
    with np.errstate(all="ignore"):
        draws = -(-rows_of(network) // max(1, len(x)))
        exact, size = _run(network, x.astype("float64"), None)
        near, _ = _run(network, np.tile(x, (draws, *(1,) * (x.ndim - 1))), np.random.default_rng(0))
        scale = np.sqrt(np.square(size).mean(axis=1))
        scale[scale == 0.0] = 1.0
        error = _rms(near - np.tile(exact, (draws, 1)), np.tile(scale, draws))
    return Emulation(exact, scale, error)


def _rms(error: np.ndarray, scale: np.ndarray) -> float:
    """Root mean square in units of the scale, over the samples that stayed finite."""
    with np.errstate(all="ignore"):
        rows = np.square(error / scale[:, None]).mean(axis=1)
    rows = rows[np.isfinite(rows)]
    return float(np.sqrt(rows.mean())) if len(rows) else np.nan


def _run(
    network: Network, x: np.ndarray, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and the magnitudes that they sum; rounded, with noise, if there is a generator."""
    values = {0: x.astype("float64")}
    size = np.abs(values[0])
    for node in network.nodes[1:]:
        read = [values[source.index] for source in node.sources]
        if isinstance(node, ActivationNode):
            out = node.activation.call(read[0])
            size = np.abs(out)
            if rng is not None and node.activation.roundings:
                out = out + FLOAT32 * size * rng.choice((-1.0, 1.0), size.shape)
        elif isinstance(node, LinearNode) and node.operator.moves:
            out = node.operator.forward(read[0])
            size = np.abs(out)
        else:
            out = _step(node, read, "float64" if rng is None else "float32")
            if rng is not None or node is network.logits:
                size = _magnitude(node, read)
            if rng is not None:
                noise = _noise(node, size, out) + _vanishing(node, values)
                out += noise * rng.choice((-1.0, 1.0), size.shape)
        values[node.index] = out
    return values[network.logits.index], size


def _step(node: Any, read: list[np.ndarray], dtype: str) -> np.ndarray:
    """What a step sums in an arithmetic."""
    given = [value.astype(dtype) for value in read]
    if isinstance(node, LinearNode):
        out, constant = node.operator.forward(given[0]).astype(dtype), node.bias
    else:
        out, constant = sum(given[1:], given[0]), node.constant
    return (out if constant is None else out + constant.astype(dtype)).astype("float64")


def _magnitude(node: Any, read: list[np.ndarray]) -> np.ndarray:
    """The magnitudes that a step sums."""
    if isinstance(node, LinearNode):
        size, constant = node.operator.absolute.forward(np.abs(read[0])), node.bias
    else:
        size, constant = np.sum([np.abs(value) for value in read], axis=0), node.constant
    return size if constant is None else size + np.abs(constant)


def _noise(node: Any, size: np.ndarray, out: np.ndarray) -> np.ndarray:
    """How far another execution in float32 may be from NumPy's, about."""
    if not isinstance(node, LinearNode):
        return _NOISE * FLOAT32 * size
    operator = node.operator
    total = np.abs(out if node.bias is None else out - node.bias)
    # Coefficients that a layer computes itself differ by the slack; denormals may be flushed.
    relative = _NOISE * (FLOAT32 + operator.slack) * size
    drift = _DRIFT * FLOAT32 * np.sqrt(operator.terms) * total
    return relative + drift + operator.flushes * SMALLEST


def _vanishing(node: Any, values: dict[int, np.ndarray]) -> np.ndarray | float:
    """What is lost where coefficients that are denormal count as zero, on some backends."""
    lost: np.ndarray | float = 0.0
    for index, operator in node.kernels if isinstance(node, LinearNode) else ():
        sums = operator.vanishing(SMALLEST)
        if sums is not None:
            peak = np.abs(values[index]).reshape(len(values[index]), -1).max(axis=1)
            lost = lost + sums * per_sample(peak, sums)
    return lost
