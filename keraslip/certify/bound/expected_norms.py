"""What local norms will be, about: guesses that decide where it is worth while to prove one."""

from weakref import WeakKeyDictionary

import numpy as np

from keraslip.certify.bound.global_norms import global_norms
from keraslip.certify.operators import Proved

Weights = np.ndarray | None

#: Power iterations of a guess; more where no global norm tells how far from converged they are.
_STEPS, _LONG = 8, 30
#: A guess is taken for this much too large, so that hope is given up seldom too early.
_HOPE = 0.995
#: A norm that is expected to be no smaller than this share of the global one is not worth its proof.
WORTH = 0.99


def expected_norms(operator: Proved, rows: Weights, columns: Weights) -> np.ndarray:
    """Guesses of `||diag(rows) L diag(columns)||_2`, for all samples at once. Never part of a certificate.

    A few power iterations stay some per cent below a norm, with masks and without. For operators whose norms
    take long to prove, the global norm is known to be larger by some factor, and so is the guess taken to be;
    four layers at face value would promise too much.

    Args:
        operator: The operator.
        rows: Weights `(batch, *out_shape)`, or `None`.
        columns: Weights `(batch, *in_shape)`, or `None`.

    Returns:
        Guesses, `(batch,)`, at most the global norms.
    """
    known = global_norms(operator, rows, columns)
    if not operator.costly:
        return np.minimum(known, _reached(operator, rows, columns, _LONG))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = _reached(operator, rows, columns, _STEPS) / _reached_without(operator)
    return np.asarray(np.fmin(known, ratio * operator.norm * _HOPE))


def _reached(operator: Proved, rows: Weights, columns: Weights, steps: int) -> np.ndarray:
    """Norms from below, by power iterations from one start, `(batch,)`."""
    batch = max(1 if w is None else len(w) for w in (rows, columns))
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
