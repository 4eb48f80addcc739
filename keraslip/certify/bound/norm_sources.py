"""Where the norms of a pass come from: global ones, proved local ones, and guesses of these."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np

from keraslip.certify.norms import probabilistic_norm
from keraslip.certify.norms.rounding import INFLATION, SMALLEST, per_sample
from keraslip.certify.operators import NUMPY, Proved, Upwards
from keraslip.typing import Tensor

#: Weights of the rows or columns of a map, `(batch, *shape)` in [0, 1]; `None` for ones.
Weights = np.ndarray | None
OneSample = Callable[[Proved, np.ndarray, np.ndarray], float]

#: Lanczos steps of a guess, and power iterations that find where they start.
_STEPS, _LONG = 12, 50
#: A norm that is expected to be no smaller than this share of the global one is not worth its proof.
_WORTH = 0.99


class Norms(Protocol):
    """Where the norms of a pass come from."""

    def __call__(self, operator: Proved, rows: Weights, columns: Weights) -> np.ndarray:
        """Upper bounds of `||diag(rows) L diag(columns)||_2`, `(batch,)` or `(1,)`."""


def global_norms(
    operator: Proved, rows: Tensor | None, columns: Tensor | None, upwards: Upwards = NUMPY
) -> Tensor:
    """Norms without masks, but for the largest weight of rows and columns: nothing is computed.

    Weights may be in any arithmetic, which `upwards` names; so are the bounds, `(batch,)` or `(1,)`.
    """
    norm = upwards.arithmetic.ones((1,)) * operator.norm
    for weights in (rows, columns):
        if weights is not None:
            norm = upwards.times(norm, upwards.largest(weights))
    return upwards.up(norm)


@dataclass(frozen=True)
class LocalNorms:
    """Proved norms of a pass: local where they are wanted and can be smaller, global elsewhere."""

    #: Whether convolutions are wanted too, which cost far more than dense layers.
    convolutions: bool
    one: OneSample  #: Bound of `||diag(rows) L diag(columns)||_2` for one sample.
    #: Works on several samples at once; one after the other if `None`.
    executor: Executor | None = None
    #: Guesses of norms. A convolution's is left global where its guess is.
    expected: Norms | None = None
    #: The highest price of a convolution's proof; a norm whose proof costs more is left global.
    most: float = np.inf

    def __call__(self, operator: Proved, rows: Weights, columns: Weights) -> np.ndarray:
        known = global_norms(operator, rows, columns)
        if operator.costly and not (self.convolutions and operator.price <= self.most):
            return known
        batch = _batch(rows, columns)
        known = np.broadcast_to(known, (batch,))
        worthwhile = np.ones(batch, dtype=bool)
        if operator.costly and self.expected is not None:
            worthwhile[:] = self.expected(operator, rows, columns) < known

        def improve(index: int) -> float:
            picked = [
                np.ones(shape) if w is None else w[index if len(w) > 1 else 0]
                for w, shape in ((rows, operator.out_shape), (columns, operator.in_shape))
            ]
            # With no unit left out there is nothing to gain; a zero norm cannot be improved.
            if (
                not worthwhile[index]
                or known[index] == 0.0
                or all((w == 1.0).all() for w in picked)
            ):
                return float(known[index])
            found = self.one(operator, *picked)
            return float(min(known[index], found)) if not np.isnan(found) else float(known[index])

        run = map if self.executor is None else self.executor.map
        return np.fromiter(run(improve, range(batch)), "float64", batch)


def proved(operator: Proved, rows: np.ndarray, columns: np.ndarray) -> float:
    """A deterministic bound, every rounding of its computation accounted for."""
    return operator.local_norm(rows, columns)


def probabilistic(delta: float, rng: np.random.Generator) -> OneSample:
    """Bounds that fail with a probability of at most delta each."""

    def one(operator: Proved, rows: np.ndarray, columns: np.ndarray) -> float:
        def forward(v: np.ndarray) -> np.ndarray:
            out = operator.forward((v.reshape(operator.in_shape) * columns)[None])[0]
            return np.asarray((out * rows).reshape(-1))

        def adjoint(v: np.ndarray) -> np.ndarray:
            out = operator.adjoint((v.reshape(operator.out_shape) * rows)[None])[0]
            return np.asarray((out * columns).reshape(-1))

        bound = probabilistic_norm(forward, adjoint, operator.inputs, delta, rng)
        if operator.slack:
            # Relative to the coefficients' magnitudes, which a sum of maps can cancel.
            most = float(rows.max() * columns.max())
            bound = bound + operator.slack * operator.absolute_norm * most
        return bound * INFLATION

    return one


def _batch(*weights: Weights) -> int:
    return max(1 if w is None else len(w) for w in weights)


def expected_norms(
    operator: Proved, rows: Weights, columns: Weights, most: float = np.inf
) -> np.ndarray:
    """Guesses of `||diag(rows) L diag(columns)||_2`, for all samples at once. Never part of a certificate.

    A few Lanczos steps stay below a norm, and so below what can be proved: what they do not certify is not
    worth the proofs. The global norm is taken for a convolution whose proof costs more than `most`, or gains
    little.
    """
    known = global_norms(operator, rows, columns)
    if operator.costly and operator.price > most:
        return known
    guess = np.minimum(known, _reached(operator, rows, columns))
    return np.where(guess < _WORTH * known, guess, known) if operator.costly else guess


def _reached(operator: Proved, rows: Weights, columns: Weights) -> np.ndarray:
    """Norms from below, `(batch,)`: Lanczos' method in float32, from where the map itself is largest."""
    scale = np.float32(operator.norm or 1.0)
    inside = np.float32(1.0) if columns is None else columns.astype("float32")
    outside = (1.0 if rows is None else rows.astype("float32")) / scale
    batch = _batch(rows, columns)
    v = np.broadcast_to(_start(operator) * inside, (batch, *operator.in_shape))
    before, size = np.zeros_like(v), _length(v)
    tridiagonal = np.zeros((batch, _STEPS, _STEPS))
    for step in range(_STEPS):
        v = v / per_sample(np.where(size > 0.0, size, 1.0), v)
        image = operator.single.forward(v * inside) * outside
        ahead = operator.single.adjoint(image * outside) * inside
        tridiagonal[:, step, step] = square = _length(image) ** 2
        tridiagonal[:, step, step - 1] += size if step else 0.0
        ahead = ahead - per_sample(square, v) * v - per_sample(size, v) * before
        before, v, size = v, ahead, _length(ahead)
    finite = np.isfinite(tridiagonal).all(axis=(1, 2))
    tridiagonal[~finite] = 0.0
    largest = np.linalg.eigvalsh(tridiagonal)[:, -1]
    return np.where(finite, np.sqrt(np.maximum(largest, 0.0)) * scale, np.inf)


_starts: WeakKeyDictionary[Proved, np.ndarray] = WeakKeyDictionary()


def _start(operator: Proved) -> np.ndarray:
    """About where a map is largest, `(1, *in_shape)`, found once: masks move it little."""
    if operator not in _starts:
        v = np.random.default_rng(0).standard_normal((1, *operator.in_shape), dtype="float32")
        for _ in range(_LONG):
            v = operator.single.adjoint(
                operator.single.forward(v) / np.float32(operator.norm or 1.0)
            )
            v = v / np.maximum(_length(v), SMALLEST)
        _starts[operator] = v
    return _starts[operator]


def _length(x: np.ndarray) -> np.ndarray:
    flat = x.reshape(len(x), -1)
    return np.sqrt(np.einsum("bi,bi->b", flat, flat))
