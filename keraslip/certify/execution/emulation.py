"""What float32 makes of a network: the yardstick for the errors of an execution."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, LinearNode, Node, SumNode
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
        run = _Run(network, x)
        many = np.tile(x, (draws, *(1,) * (x.ndim - 1)))
        exact, near = run.logits, _Run(network, many, np.random.default_rng(0)).logits
        scale = np.sqrt(np.square(run.size).mean(axis=1))
        scale[scale == 0.0] = 1.0
        error = _rms(near - np.tile(exact, (draws, 1)), np.tile(scale, draws))
    return Emulation(exact, scale, error)


def _rms(error: np.ndarray, scale: np.ndarray) -> float:
    """Root mean square in units of the scale, over the samples that stayed finite."""
    with np.errstate(all="ignore"):
        rows = np.square(error / scale[:, None]).mean(axis=1)
    rows = rows[np.isfinite(rows)]
    return float(np.sqrt(rows.mean())) if len(rows) else np.nan


class _Run:
    """Outputs of every step, rounded and with noise if there is a generator; a `Visitor`.

    Args:
        network: The network.
        x: Inputs `(n, *shape)`.
        rng: Draws the noise.
    """

    def __init__(
        self, network: Network, x: np.ndarray, rng: np.random.Generator | None = None
    ) -> None:
        self.last, self.rng = network.logits.index, rng
        self.values = {0: x.astype("float64")}
        #: Magnitudes that the last step summed.
        self.size = np.abs(self.values[0])
        for node in network.steps:
            self.values[node.index] = node.visit(self)
        self.logits = self.values[self.last]

    def activate(self, node: ActivationNode) -> np.ndarray:
        out = node.activation.call(self._read(node)[0])
        self.size = np.abs(out)
        if self.rng is None or not node.activation.roundings:
            return np.asarray(out)
        return np.asarray(out + FLOAT32 * self.size * self._signs(self.rng))

    def linear(self, node: LinearNode) -> np.ndarray:
        (x,), operator = self._read(node), node.operator
        if operator.copies:
            out = operator.forward(x)
            self.size = np.abs(out)
            return np.asarray(out)

        def summed(dtype: str) -> np.ndarray:
            out = operator.forward(x.astype(dtype)).astype(dtype)
            return _plus(out, node.bias, dtype)

        def magnitude() -> np.ndarray:
            return _plus(operator.absolute.forward(np.abs(x)), _size(node.bias), "float64")

        def noise(size: np.ndarray, out: np.ndarray) -> np.ndarray:
            total = np.abs(out if node.bias is None else out - node.bias)
            # Coefficients that a layer computes itself differ by the slack; denormals may be flushed.
            relative = _NOISE * (FLOAT32 + operator.slack) * size
            drift = _DRIFT * FLOAT32 * np.sqrt(operator.terms) * total
            return relative + drift + operator.flushes * SMALLEST + self._vanishing(node)

        return self._rounded(node, summed, magnitude, noise)

    def sum(self, node: SumNode) -> np.ndarray:
        read = self._read(node)

        def summed(dtype: str) -> np.ndarray:
            given = [value.astype(dtype) for value in read]
            return _plus(sum(given[1:], given[0]), node.constant, dtype)

        def magnitude() -> np.ndarray:
            size = np.sum([np.abs(value) for value in read], axis=0)
            return _plus(size, _size(node.constant), "float64")

        return self._rounded(node, summed, magnitude, lambda size, out: _NOISE * FLOAT32 * size)

    def _read(self, node: Node) -> list[np.ndarray]:
        return [self.values[source.index] for source in node.sources]

    def _signs(self, rng: np.random.Generator) -> np.ndarray:
        return rng.choice((-1.0, 1.0), self.size.shape)

    def _rounded(
        self,
        node: Node,
        summed: Callable[[str], np.ndarray],
        magnitude: Callable[[], np.ndarray],
        noise: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """What a step sums: exactly, or in float32 with as much noise as another order may make."""
        out = summed("float64" if self.rng is None else "float32")
        if self.rng is not None or node.index == self.last:
            self.size = magnitude()
        if self.rng is not None:
            out += noise(self.size, out) * self._signs(self.rng)
        return out

    def _vanishing(self, node: LinearNode) -> np.ndarray | float:
        """What is lost where coefficients that are denormal count as zero, on some backends."""
        lost: np.ndarray | float = 0.0
        for index, operator in node.kernels:
            sums = operator.vanishing(SMALLEST)
            if sums is not None:
                values = self.values[index]
                peak = np.abs(values).reshape(len(values), -1).max(axis=1)
                lost = lost + sums * per_sample(peak, sums)
        return lost


def _plus(out: np.ndarray, constant: np.ndarray | None, dtype: str) -> np.ndarray:
    """A sum with a constant in an arithmetic, as float64."""
    return (out if constant is None else out + constant.astype(dtype)).astype("float64")


def _size(constant: np.ndarray | None) -> np.ndarray | None:
    return None if constant is None else np.abs(constant)
