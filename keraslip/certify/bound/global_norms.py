"""Norms over all inputs, and what every source of norms looks like."""

from typing import Protocol

import numpy as np

from keraslip.certify.norms.rounding import times, up
from keraslip.certify.operators import Operator


class Norms(Protocol):
    """Where the norms of a pass come from."""

    def __call__(
        self, operator: Operator, rows: np.ndarray | None, columns: np.ndarray | None
    ) -> np.ndarray:
        """Upper bounds of `||diag(rows) L diag(columns)||_2`, `(batch,)` or `(1,)`."""
        ...


def global_norms(
    operator: Operator, rows: np.ndarray | None, columns: np.ndarray | None
) -> np.ndarray:
    """Norms without masks, but for the largest weight of rows and columns: nothing is computed.

    Args:
        operator: The operator.
        rows: Weights in [0, 1], `(batch, *out_shape)`, or `None` for ones.
        columns: Weights in [0, 1], `(batch, *in_shape)`, or `None` for ones.

    Returns:
        Upper bounds, `(batch,)` or `(1,)`.
    """
    norm = np.full(1, operator.norm)
    for weights in (rows, columns):
        if weights is not None:
            norm = times(norm, weights.reshape(len(weights), -1).max(axis=1))
    return up(norm)
