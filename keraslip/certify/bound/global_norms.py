"""Norms over all inputs, and what every source of norms looks like."""

from typing import Protocol

import numpy as np

from keraslip.certify.operators import NUMPY, Proved, Upwards
from keraslip.typing import Tensor


class Norms(Protocol):
    """Where the norms of a pass come from."""

    def __call__(
        self, operator: Proved, rows: np.ndarray | None, columns: np.ndarray | None
    ) -> np.ndarray:
        """Upper bounds of `||diag(rows) L diag(columns)||_2`, `(batch,)` or `(1,)`."""
        ...


def global_norms(
    operator: Proved, rows: Tensor | None, columns: Tensor | None, upwards: Upwards = NUMPY
) -> Tensor:
    """Norms without masks, but for the largest weight of rows and columns: nothing is computed.

    Args:
        operator: The operator.
        rows: Weights in [0, 1], `(batch, *out_shape)`, or `None` for ones.
        columns: Weights in [0, 1], `(batch, *in_shape)`, or `None` for ones.
        upwards: The arithmetic of the weights.

    Returns:
        Upper bounds, `(batch,)` or `(1,)`.
    """
    norm = upwards.arithmetic.ones((1,)) * operator.norm
    for weights in (rows, columns):
        if weights is not None:
            norm = upwards.times(norm, upwards.largest(weights))
    return upwards.up(norm)
