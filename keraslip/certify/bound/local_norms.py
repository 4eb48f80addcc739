"""Norms over the units that can vary, sample by sample."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from keraslip.certify.bound.expected_norms import WORTH
from keraslip.certify.bound.global_norms import Norms, global_norms
from keraslip.certify.norms import probabilistic_norm
from keraslip.certify.norms.rounding import INFLATION
from keraslip.certify.operators import Proved

Weights = np.ndarray | None
OneSample = Callable[[Proved, np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class LocalNorms:
    """Proved norms of a pass: local where they are wanted and can be smaller, global elsewhere.

    Args:
        convolutions: Whether convolutions are wanted too, which cost far more than dense layers.
        one: Bound of `||diag(rows) L diag(columns)||_2` for one sample.
        executor: Works on several samples at once; one after the other if `None`.
        expected: Guesses of norms. A convolution's is left global where its guess is hardly smaller.
    """

    convolutions: bool
    one: OneSample
    executor: Executor | None = None
    expected: Norms | None = None

    def __call__(self, operator: Proved, rows: Weights, columns: Weights) -> np.ndarray:
        """See `keraslip.certify.bound.global_norms.Norms`."""
        known = global_norms(operator, rows, columns)
        if operator.costly and not self.convolutions:
            return known
        batch = max(1 if w is None else len(w) for w in (rows, columns))
        known = np.broadcast_to(known, (batch,))
        worthwhile = np.ones(batch, dtype=bool)
        if operator.costly and self.expected is not None:
            worthwhile[:] = self.expected(operator, rows, columns) < WORTH * known

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
    """Bounds that fail with a probability of at most delta each.

    Args:
        delta: Allowed probability for one norm.
        rng: Source of the random starts.
    """

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


_ = (Norms, LocalNorms)  # LocalNorms is a Norms
