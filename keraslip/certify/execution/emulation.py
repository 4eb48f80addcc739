"""What float32 makes of a network: the yardstick for the errors of an execution."""

from dataclasses import dataclass

import numpy as np

from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, LinearNode, Node, SumNode
from keraslip.certify.norms.rounding import SMALLEST, UNIT32, per_sample

#: Rounding that is added to each step, in units of roundoff: times the magnitudes it sums, and times the sum
#: and the root of the number n of terms. NumPy may be exact where another order is not, and sums in blocks;
#: one by one, terms of both signs err by about half of the former, terms of one sign by sqrt(n) / 3.
_NOISE, _DRIFT = 0.25, 0.03
#: Samples that are run. Fewer are run several times, with other noise: one error may be small by chance.
_ROWS, _FEWEST = 16, 4
#: Magnitudes below which no order of summation overflows in float32, whose largest number is 3e38.
_SAFE = 1e30
#: Bytes that a run may take, about.
_MEMORY = 2**28


def rows_of(network: Network) -> int:
    """How many samples are worth running: 16, or what memory holds."""
    return int(np.clip(_MEMORY // (96 * network.widest), _FEWEST, _ROWS))


@dataclass(frozen=True, eq=False)
class Emulation:
    """Logits of some samples, exact and in float32."""

    exact: np.ndarray  #: Logits in float64, `(n, classes)`.
    scale: np.ndarray  #: Magnitude of what every sample's logits sum, `(n,)`.
    error: float  #: Rms error of float32 in units of the scale.
    safe: np.ndarray  #: Whether float32 is far from overflowing on the way, `(n,)`.

    def excess(self, executed: np.ndarray) -> float:
        """How many times the error of float32 an execution errs; NaN if it says nothing."""
        if (self.safe & ~np.isfinite(executed).all(axis=1)).any():
            return np.inf
        found = _rms(executed.astype("float64") - self.exact, self.scale)
        # What float32 computes without error no other execution may change.
        return found / self.error if self.error else np.inf if found else 0.0 * found


def emulate(network: Network, x: np.ndarray) -> Emulation:
    """Runs some samples in float64, and step by step in NumPy's float32."""
    with np.errstate(all="ignore"):
        draws = -(-rows_of(network) // max(1, len(x)))
        run = _Run(network, x)
        many = np.tile(x, (draws, *(1,) * (x.ndim - 1)))
        exact, safe = run.logits, run.largest < _SAFE
        near = _Run(network, many, np.random.default_rng(0)).logits
        scale = np.sqrt(np.square(run.size).mean(axis=1))
        scale[scale == 0.0] = 1.0
        error = _rms(near - np.tile(exact, (draws, 1)), np.tile(scale, draws))
    return Emulation(exact, scale, error, safe)


def _rms(error: np.ndarray, scale: np.ndarray) -> float:
    """Root mean square in units of the scale, over the samples that stayed finite."""
    with np.errstate(all="ignore"):
        rows = np.square(error / scale[:, None]).mean(axis=1)
    rows = rows[np.isfinite(rows)]
    return float(np.sqrt(rows.mean())) if len(rows) else np.nan


class _Run:
    """Outputs of every step, rounded and with noise if there is a generator; a `Visitor`."""

    def __init__(
        self, network: Network, x: np.ndarray, rng: np.random.Generator | None = None
    ) -> None:
        self.rng, self.dtype = rng, "float64" if rng is None else "float32"
        self.values = {0: x.astype("float64")}
        #: Magnitudes that the last step summed.
        self.size = np.abs(self.values[0])
        #: The largest of them on the way, of every sample.
        self.largest = self._peak()
        for node in network.steps:
            self.values[node.index] = node.visit(self)
            self.largest = np.maximum(self.largest, self._peak())
        self.logits = self.values[network.logits.index]

    def activate(self, node: ActivationNode) -> np.ndarray:
        out = node.activation.call(self._read(node)[0])
        self.size = np.abs(out)
        if self.rng is None or not node.activation.roundings:
            return np.asarray(out)
        return np.asarray(out + UNIT32 * self.size * self._signs(self.rng))

    def linear(self, node: LinearNode) -> np.ndarray:
        (x,), operator, bias = self._read(node), node.operator, node.bias
        if operator.copies:
            out = operator.forward(x)
            self.size = np.abs(out)
            return np.asarray(out)
        out = operator.forward(x.astype(self.dtype)).astype(self.dtype)
        out = self._plus(out, bias)
        self.size = operator.absolute.forward(np.abs(x))
        self.size = self.size if bias is None else self.size + np.abs(bias)
        if self.rng is None:
            return out
        total = np.abs(out if bias is None else out - bias)
        # Coefficients that a layer computes itself differ by the slack; denormals may be flushed.
        relative = _NOISE * (UNIT32 + operator.slack) * self.size
        drift = _DRIFT * UNIT32 * np.sqrt(operator.terms) * total
        noise = relative + drift + operator.flushes * SMALLEST + self._vanishing(node)
        return out + noise * self._signs(self.rng)

    def sum(self, node: SumNode) -> np.ndarray:
        read, constant = self._read(node), node.constant
        first, *others = (value.astype(self.dtype) for value in read)
        out = self._plus(sum(others, first), constant)
        self.size = np.asarray(np.sum([np.abs(value) for value in read], axis=0))
        self.size = self.size if constant is None else self.size + np.abs(constant)
        if self.rng is None:
            return out
        return out + _NOISE * UNIT32 * self.size * self._signs(self.rng)

    def _peak(self) -> np.ndarray:
        return np.asarray(self.size.reshape(len(self.size), -1).max(axis=1, initial=0.0))

    def _read(self, node: Node) -> list[np.ndarray]:
        return [self.values[source.index] for source in node.sources]

    def _signs(self, rng: np.random.Generator) -> np.ndarray:
        return rng.choice((-1.0, 1.0), self.size.shape)

    def _plus(self, out: np.ndarray, constant: np.ndarray | None) -> np.ndarray:
        """A sum with a constant, as float64."""
        total = out if constant is None else out + constant.astype(self.dtype)
        return total.astype("float64")

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
