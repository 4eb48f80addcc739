"""Whether an activation is what it says, at random boxes, in float64."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keraslip.activations.activation import Activation, Slopes
from keraslip.typing import Array

#: Of float64, relative to the numbers that are compared.
_TOLERANCE = 1e-9
#: Of what cancels, see `Activation.offset`.
_CANCELLED = 1e-14
#: Numbers in a draw, about, and draws of points in every box.
_NUMBERS, _DRAWS = 50_000, 8


def activation_problem(
    activation: Activation, shape: tuple[int, ...], rng: np.random.Generator
) -> str | None:
    """What does not hold of a float64 activation in random boxes, in words, or `None`: see `Activation`."""
    z, rho = _boxes((int(np.clip(_NUMBERS // np.prod(shape), 4, 500)), *shape), rng)
    with np.errstate(all="ignore"):
        return next(_problems(activation, z, rho, rng), None) or next(
            _where_nan(activation, z, rho), None
        )


def _boxes(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Array, Array]:
    """Centers and half widths of all sizes; some are zero."""
    z = rng.standard_normal(shape) * 10.0 ** rng.uniform(-3.0, 2.0, shape)
    rho = np.abs(z) * 10.0 ** rng.uniform(-2.0, 2.0, shape)
    z, rho = (np.where(rng.uniform(size=shape) < 0.05, 0.0, part) for part in (z, rho))
    return z, rho


@dataclass(frozen=True, eq=False)
class _Moved:
    """Two points of a box, and what may be said of the change from one to the other."""

    moved: Array  #: From input to input.
    change: Array  #: From output to output.
    room: Array  #: What float64 may round of these.

    @classmethod
    def between(cls, activation: Activation, start: Array, end: Array) -> "_Moved":
        before, after = activation.call(start), activation.call(end)
        most = float(np.abs(activation.lipschitz))
        size = np.abs(before) + np.abs(after) + most * (np.abs(start) + np.abs(end))
        # What cancels on the way to small outputs leaves its own digits.
        room = _TOLERANCE * size + _CANCELLED * activation.offset
        return cls(end - start, after - before, room)

    def breaks(self, slopes: Slopes) -> bool:
        """Whether weights of rows and columns, or slopes, do not allow the change."""
        rows, columns, size = slopes.rows, slopes.columns, np.abs(self.change)
        if not (size[columns == 0.0] <= self.room[columns == 0.0]).all():
            return True
        weights = np.where(columns == 0.0, 1.0, columns)
        inner = np.where(columns == 0.0, 0.0, np.maximum(size - self.room, 0.0)) / weights
        if not (_length(inner) <= (1.0 + _TOLERANCE) * _length(rows * self.moved)).all():
            return True
        if slopes.low is None or slopes.high is None:
            return False
        ends = slopes.low * self.moved, slopes.high * self.moved
        low, high = np.minimum(*ends) - self.room, np.maximum(*ends) + self.room
        return not ((low <= self.change) & (self.change <= high)).all()


def _problems(
    activation: Activation, z: Array, rho: Array, rng: np.random.Generator
) -> Iterator[str]:
    output = activation.call(z)
    if not isinstance(output, np.ndarray) or (output.shape, output.dtype) != (z.shape, z.dtype):
        yield "call: of a float64 array it makes another kind or shape"
        return
    named = {
        "slopes(hard=False)": activation.slopes(z, rho, False),
        "slopes(hard=True)": activation.slopes(z, rho, True),
        "kept": activation.kept(z, rho),
    }
    for name, slopes in named.items():
        yield from (f"{name}: {problem}" for problem in _weights(activation, slopes))
    soft, *hard = named.items()
    lower, upper = activation.range(z - rho, z + rho)
    c = rng.standard_normal(z.shape)
    support = activation.support(c, z, rho, soft[1])
    for k in range(_DRAWS):
        ends = [_point(z, rho, k, rng) for _ in range(2)]
        from_center = _Moved.between(activation, z, ends[0])
        if from_center.breaks(soft[1]):
            yield f"{soft[0]}: an output moves further from its center than they allow"
        for name, slopes in hard:
            if _Moved.between(activation, *ends).breaks(slopes):
                yield f"{name}: between two points of a box an output moves further than they allow"
        there, room = activation.call(ends[0]), from_center.room
        if not ((lower - room <= there) & (there <= upper + room)).all():
            yield "range: an output lies outside"
        if support is not None:
            s, q = support
            below = c * s * from_center.moved - np.abs(c * from_center.moved) * q
            if not (_sum(c * from_center.change - below + np.abs(c) * room) >= 0.0).all():
                yield "support: it is larger than what it supports"


def _weights(activation: Activation, slopes: Slopes) -> Iterator[str]:
    rows, columns = slopes.rows, slopes.columns
    if not ((rows >= 0.0) & (rows <= activation.lipschitz * (1.0 + _TOLERANCE))).all():
        yield f"weights of rows must be from 0 to lipschitz, which is {activation.lipschitz}"
    if not ((columns >= 0.0) & (columns <= 1.0)).all():
        yield "weights of columns must be from 0 to 1"


def _where_nan(activation: Activation, z: Array, rho: Array) -> Iterator[str]:
    """NaN must not be taken for an output that cannot move."""
    rho = rho + 1.0
    nan = np.full_like(z, np.nan)
    for broken_z, broken_rho in ((nan, rho), (z, nan)):
        for hard in (False, True):
            slopes = activation.slopes(broken_z, broken_rho, hard)
            if (slopes.rows * slopes.columns == 0.0).any():
                yield (
                    f"slopes(hard={hard}): where z or rho is NaN a weight is 0, as if nothing could move. "
                    "Comparisons with NaN are false: write varies = not (constant)"
                )


def _point(z: Array, rho: Array, k: int, rng: np.random.Generator) -> Array:
    """A point of every box: anywhere, at a corner, or with few entries moved."""
    t = rng.uniform(-1.0, 1.0, z.shape)
    t = np.sign(t) if k % 3 == 1 else t
    if k % 3 == 2:
        t = np.where(rng.uniform(size=z.shape) < 4.0 / z[0].size, t, 0.0)
    return np.clip(z + t * rho, z - rho, z + rho)


def _sum(x: Array) -> Array:
    return np.asarray(x.reshape(len(x), -1).sum(axis=1))


def _length(x: Array) -> Array:
    return np.sqrt(_sum(np.square(x)))
