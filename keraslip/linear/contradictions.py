"""What can be seen of a linear map from outside: a map that contradicts itself is not believed."""

import math
from dataclasses import fields
from typing import Any

import numpy as np

from keraslip.arithmetic import float64
from keraslip.linear.linear_map import LinearMap

#: Far more than float64 rounds in any of these sums.
_TOLERANCE = 1e-9
#: Vectors in a test, rows that are written out, and steps that look for the norm.
_VECTORS, _ROWS, _STEPS = 3, 2, 4


def is_known(linear_map: LinearMap) -> bool:
    """Whether a map, and all that it is made of, is one of `keraslip.linear`'s."""
    if type(linear_map).__module__.split(".")[0] != "keraslip":
        return False
    parts: list[LinearMap] = []
    for one in fields(linear_map):
        held = getattr(linear_map, one.name)
        parts += [x for x in (held if type(held) is tuple else (held,)) if isinstance(x, LinearMap)]
    return all(is_known(part) for part in parts)


def contradiction(linear_map: LinearMap, rng: np.random.Generator) -> str | None:
    """What contradicts itself in a map, in words, or `None`.

    Random vectors see whether it is linear, whether its adjoint is the adjoint, and whether its bounds are
    bounds: what is wrong in every entry is always found, what is wrong in few entries perhaps not.

    Args:
        linear_map: Any map, in any arithmetic.
        rng: Draws the vectors.
    """
    exact = linear_map.to(float64)
    if not _is_finite(exact):
        return None  # whatever it is, nothing is certified with it
    ins, outs = (_VECTORS, *exact.in_shape), (_VECTORS, *exact.out_shape)
    u, v = rng.standard_normal(ins), rng.standard_normal(outs)
    try:
        forward, back = exact.forward(u), exact.adjoint(v)
    except Exception as error:  # whatever a user's method raises
        return f"it fails on NumPy arrays ({error!r}): write it on self.arithmetic"
    if not all(isinstance(x, np.ndarray) and x.dtype == np.float64 for x in (forward, back)):
        return "it does not compute in float64 NumPy: write it on self.arithmetic"
    if forward.shape != outs or back.shape != ins:
        return (
            f"its map goes from {ins} to {forward.shape}, its adjoint from {outs} to {back.shape}"
        )
    absolute = exact.absolute()
    magnitude = absolute.forward(np.abs(u))
    if not (np.abs(forward) <= (1.0 + _TOLERANCE) * magnitude).all():
        return "its map with absolute values is smaller than the map"
    scale = rng.standard_normal(_VECTORS)
    mixed = exact.forward(np.tensordot(scale, u, 1)[None])[0]
    size = np.tensordot(np.abs(scale), magnitude, 1)
    if not (np.abs(mixed - np.tensordot(scale, forward, 1)) <= _TOLERANCE * size).all():
        return "it is not linear: what it makes of a sum is not the sum"
    sums = [np.sum(a.reshape(_VECTORS, -1), axis=1) for a in (forward * v, u * back)]
    size = np.sum((magnitude * np.abs(v)).reshape(_VECTORS, -1), axis=1)
    if not (np.abs(sums[0] - sums[1]) <= _TOLERANCE * size).all():
        return "its adjoint is not that of its forward map"
    return _of_rows(exact, absolute, rng) or _of_norms(exact, u) or _of_entries(exact)


def _is_finite(exact: LinearMap) -> bool:
    finite: list[bool] = []

    def look(array: Any) -> Any:
        finite.append(bool(np.isfinite(array).all()))
        return array

    exact.each(look)
    return all(finite)


def _of_rows(exact: LinearMap, absolute: LinearMap, rng: np.random.Generator) -> str | None:
    outputs = math.prod(exact.out_shape)
    some = rng.choice(outputs, min(_ROWS, outputs), replace=False)
    basis = np.zeros((len(some), outputs))
    basis[np.arange(len(some)), some] = 1.0
    basis = basis.reshape(len(some), *exact.out_shape)
    rows = exact.adjoint(basis)
    if not (np.abs(rows) <= (1.0 + _TOLERANCE) * absolute.adjoint(basis)).all():
        return "its map with absolute values is smaller than the map"
    mask = (rng.uniform(size=(1, *exact.in_shape)) < 0.5).astype("float64")
    for weights in (None, mask):
        kept = rows if weights is None else rows * weights
        claims = np.broadcast_to(exact.row_norms(weights), (1, *exact.out_shape)).reshape(-1)[some]
        length = np.linalg.norm(kept.reshape(len(some), -1), axis=1)
        if not (length <= (1.0 + _TOLERANCE) * claims).all():
            return "its row norms are smaller than the norms of its rows"
    return None


def _of_norms(exact: LinearMap, u: np.ndarray) -> str | None:
    bounds = float(exact.norm_bound()), float(exact.unit())
    for _ in range(_STEPS):
        image = exact.forward(u)
        longest = max(_length(image) / np.maximum(_length(u), 1e-300))
        if not longest <= (1.0 + _TOLERANCE) * min(bounds):
            return "its norm is smaller than what it does to a vector"
        u = exact.adjoint(image)
        u = u / np.maximum(_length(u), 1e-300).reshape(-1, *(1,) * (u.ndim - 1))
    return None


def _length(x: np.ndarray) -> Any:
    return np.linalg.norm(x.reshape(len(x), -1), axis=1)


def _of_entries(exact: LinearMap) -> str | None:
    """Whether a map that says so only moves entries."""
    if not exact.isometry:
        return None
    inputs = math.prod(exact.in_shape)
    numbers = np.arange(1.0, inputs + 1.0).reshape(1, *exact.in_shape)
    moved = exact.forward(numbers)
    there = moved[moved != 0.0]
    kept = np.isin(numbers, there)
    if len(there) != kept.sum():
        return (
            "it says that it moves entries, but its outputs are not inputs, each used at most once"
        )
    back = exact.adjoint(moved)
    return None if np.array_equal(back, numbers * kept) else "its adjoint moves otherwise"
