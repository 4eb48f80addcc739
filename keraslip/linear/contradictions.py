"""What can be seen of a linear map from outside: a map that contradicts itself is not believed."""

import math
from dataclasses import fields
from typing import Any

import numpy as np

from keraslip.arithmetic import float64
from keraslip.linear.linear_map import LinearMap

#: Far more than float64 rounds in any of these sums.
_TOLERANCE = 1e-9
#: Vectors in a test, and rows that are written out.
_VECTORS, _ROWS = 3, 2
#: Numbers up to which all rows of a user's own map are written out.
_ALL_ROWS = 2**21
#: Sizes of inputs, powers of two, so that a linear map rounds each as it does the others.
_SIZES = 2.0**-40, 2.0**40


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
    """What contradicts itself in a map of any arithmetic, in words, or `None`.

    Random vectors see whether it is linear, whether its adjoint is the adjoint, and whether its bounds are
    bounds: what is wrong in every entry is always found, what is wrong in few entries of a large map perhaps
    not.
    """
    exact = linear_map.to(float64)
    if not is_finite(exact):
        return None  # whatever it is, nothing is certified with it
    ins, outs = (_VECTORS, *exact.in_shape), (_VECTORS, *exact.out_shape)
    u, v = rng.standard_normal(ins), rng.standard_normal(outs)
    try:
        forward, back = exact.forward(u), exact.adjoint(v)
    except Exception as error:  # whatever a user's method raises
        return f"it fails on NumPy arrays ({error!r}): write it on self.arithmetic"
    if not all(isinstance(x, np.ndarray) and x.dtype == np.float64 for x in (forward, back)):
        return "it does not compute in float64 NumPy: write it on self.arithmetic"
    absolute = exact.absolute()
    if (problem := of_vectors(exact, absolute, u, v, rng)) is not None:
        return problem
    bound = min(float(exact.norm_bound()), float(exact.unit()))
    inputs, outputs = math.prod(exact.in_shape), math.prod(exact.out_shape)
    rows = outputs if outputs * max(inputs, outputs) <= _ALL_ROWS else _ROWS
    return (
        _of_sizes(exact, absolute, u)
        or of_rows(exact, absolute, rng, rows=rows)
        or of_norms(exact, u, bound)
        or _of_entries(exact)
    )


def of_vectors(
    made: Any, absolute: Any, u: np.ndarray, v: np.ndarray, rng: np.random.Generator
) -> str | None:
    """What contradicts itself in a map, or what a proof makes of one, on inputs u and outputs v, in words.

    In float64; `absolute` is the same with magnitudes of the coefficients.
    """
    forward, back = made.forward(u), made.adjoint(v)
    if forward.shape != v.shape or back.shape != u.shape:
        return f"its map goes from {u.shape} to {forward.shape}, its adjoint from {v.shape} to {back.shape}"
    magnitude = absolute.forward(np.abs(u))
    if not (np.abs(forward) <= (1.0 + _TOLERANCE) * magnitude).all():
        return "its map with absolute values is smaller than the map"
    scale = rng.standard_normal(len(u))
    mixed = made.forward(np.tensordot(scale, u, 1)[None])[0]
    size = np.tensordot(np.abs(scale), magnitude, 1)
    if not (np.abs(mixed - np.tensordot(scale, forward, 1)) <= _TOLERANCE * size).all():
        return "it is not linear: what it makes of a sum is not the sum"
    products = forward * v, u * back, magnitude * np.abs(v)
    there, here, size = (np.sum(a.reshape(len(a), -1), axis=1) for a in products)
    if not (np.abs(there - here) <= _TOLERANCE * size).all():
        return "its adjoint is not that of its forward map"
    return None


def _of_sizes(exact: LinearMap, absolute: LinearMap, u: np.ndarray) -> str | None:
    """Whether a map does the same to small and large vectors: a clip, say, is linear for some."""
    forward, magnitude = exact.forward(u), absolute.forward(np.abs(u))
    for size in _SIZES:
        off = np.abs(exact.forward(size * u) / size - forward)
        if not (off <= _TOLERANCE * magnitude).all():
            return "it is not linear: of a vector of another size it makes something else"
    return None


def is_finite(exact: LinearMap) -> bool:
    """Whether all coefficients are."""
    finite: list[bool] = []

    def look(array: Any) -> Any:
        finite.append(bool(np.isfinite(array).all()))
        return array

    exact.each(look)
    return all(finite)


def of_rows(
    made: Any,
    absolute: Any,
    rng: np.random.Generator,
    signless: Any = None,
    rows: int = _ROWS,
) -> str | None:
    """The same of some rows, with and without weights; `signless` has row norms that bound those of |W|."""
    outputs = math.prod(made.out_shape)
    some = rng.choice(outputs, min(rows, outputs), replace=False)
    basis = np.zeros((len(some), outputs))
    basis[np.arange(len(some)), some] = 1.0
    basis = basis.reshape(len(some), *made.out_shape)
    written, magnitudes = made.adjoint(basis), absolute.adjoint(basis)
    if not (np.abs(written) <= (1.0 + _TOLERANCE) * magnitudes).all():
        return "its map with absolute values is smaller than the map"
    mask = (rng.uniform(size=(1, *made.in_shape)) < 0.5).astype("float64")
    claims = [(written, made.row_norms(None)), (written * mask, made.row_norms(mask))]
    claims += [] if signless is None else [(magnitudes, signless.row_norms())]
    for kept, claimed in claims:
        longest = np.broadcast_to(claimed, (1, *made.out_shape)).reshape(-1)[some]
        if not (_length(kept) <= (1.0 + _TOLERANCE) * longest).all():
            return "its row norms are smaller than the norms of its rows"
    return None


def of_norms(made: Any, u: np.ndarray, bound: float, steps: int = 4) -> str | None:
    """The same of a bound of the norm, looked for from some inputs."""
    for _ in range(steps):
        image = made.forward(u)
        longest = max(_length(image) / np.maximum(_length(u), 1e-300))
        if not longest <= (1.0 + _TOLERANCE) * bound:
            return "its norm is smaller than what it does to a vector"
        u = made.adjoint(image)
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
