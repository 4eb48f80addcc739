"""Where the norms of a pass come from: global ones, proved local ones, and guesses of these."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np

from keraslip.certify.norms import probabilistic_norm
from keraslip.certify.norms.rounding import INFLATION
from keraslip.certify.operators import NUMPY, Proved, Upwards
from keraslip.typing import Tensor

#: Weights of the rows or columns of a map, `(batch, *shape)` in [0, 1]; `None` for ones.
Weights = np.ndarray | None
OneSample = Callable[[Proved, np.ndarray, np.ndarray], float]

#: Power iterations of a guess; more where no global norm tells how far from converged they are.
_STEPS, _LONG = 8, 30
#: A guess is taken for this much too large, so that hope is given up seldom too early.
_HOPE = 0.995
#: A norm that is expected to be no smaller than this share of the global one is not worth its proof.
_WORTH = 0.99


class Norms(Protocol):
    """Where the norms of a pass come from."""

    def __call__(self, operator: Proved, rows: Weights, columns: Weights) -> np.ndarray:
        """Upper bounds of `||diag(rows) L diag(columns)||_2`, `(batch,)` or `(1,)`."""
        ...


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
    """Proved norms of a pass: local where they are wanted and can be smaller, global elsewhere.

    Args:
        convolutions: Whether convolutions are wanted too, which cost far more than dense layers.
        one: Bound of `||diag(rows) L diag(columns)||_2` for one sample.
        executor: Works on several samples at once; one after the other if `None`.
        expected: Guesses of norms. A convolution's is left global where its guess is hardly smaller.
        most: The highest price of a convolution's proof; a norm whose proof costs more is left global.
    """

    convolutions: bool
    one: OneSample
    executor: Executor | None = None
    expected: Norms | None = None
    most: float = np.inf

    def __call__(self, operator: Proved, rows: Weights, columns: Weights) -> np.ndarray:
        known = global_norms(operator, rows, columns)
        if operator.costly and not (self.convolutions and operator.price <= self.most):
            return known
        batch = _batch(rows, columns)
        known = np.broadcast_to(known, (batch,))
        worthwhile = np.ones(batch, dtype=bool)
        if operator.costly and self.expected is not None:
            worthwhile[:] = self.expected(operator, rows, columns) < _WORTH * known

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
        return bound * (1.0 + operator.slack) * INFLATION

    return one


def _batch(*weights: Weights) -> int:
    return max(1 if w is None else len(w) for w in weights)


def expected_norms(
    operator: Proved, rows: Weights, columns: Weights, most: float = np.inf
) -> np.ndarray:
    """Guesses of `||diag(rows) L diag(columns)||_2`, for all samples at once. Never part of a certificate.

    A few power iterations stay some per cent below a norm, with masks and without. For operators whose norms
    take long to prove, the global norm is known to be larger by some factor, and so is the guess taken to be;
    four layers at face value would promise too much. No guess is above the global norm, which it is for a
    convolution whose proof costs more than `most`.
    """
    known = global_norms(operator, rows, columns)
    if operator.costly and operator.price > most:
        return known
    if not operator.costly:
        return np.minimum(known, _reached(operator, rows, columns, _LONG))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = _reached(operator, rows, columns, _STEPS) / _reached_without(operator)
    return np.asarray(np.fmin(known, ratio * operator.norm * _HOPE))


def _reached(operator: Proved, rows: Weights, columns: Weights, steps: int) -> np.ndarray:
    """Norms from below, by power iterations from one start, `(batch,)`."""
    batch = _batch(rows, columns)
    inside = np.ones(1) if columns is None else columns
    outside = np.ones(1) if rows is None else rows
    v = np.random.default_rng(0).standard_normal((1, *operator.in_shape)) * inside
    v = np.broadcast_to(v, (batch, *operator.in_shape))
    length = np.zeros(batch)
    for _ in range(steps):
        size = np.sqrt(np.square(v).reshape(batch, -1).sum(axis=1))
        v = v / np.where(size > 0, size, 1.0).reshape(-1, *(1,) * (v.ndim - 1))
        image = operator.forward(v) * outside
        length = np.sqrt(np.square(image).reshape(batch, -1).sum(axis=1))
        v = operator.adjoint(image * outside) * inside
    return length


_without: WeakKeyDictionary[Proved, float] = WeakKeyDictionary()


def _reached_without(operator: Proved) -> float:
    """What the iterations reach without masks, found once for an operator."""
    if operator not in _without:
        _without[operator] = float(_reached(operator, None, None, _STEPS)[0])
    return _without[operator]
