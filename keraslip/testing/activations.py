"""Whether an activation is what it says: slopes, ranges and supports against points of boxes."""

from typing import Any

import numpy as np

from keraslip.activations import Activation, Slopes
from keraslip.arithmetic import float64, training
from keraslip.testing.failure import place, require

Array = np.ndarray
#: Of the sums made here, in float64; and of float32.
_NOISE, _ROUNDED = 1e-12, 1e-5
#: Sizes of inputs: some activations bend far from zero.
_SIZES = (0.3, 1.0, 3.0, 10.0, 100.0)
#: Half widths of boxes, in units of the input's size.
_WIDTHS = (0.0, 0.05, 0.5, 2.0)
_POINTS = 60


def check_activation(activation: Activation, shape: tuple[int, ...] = (8,), seed: int = 0) -> None:
    """Holds an activation to what it says of its slopes, at points of boxes of many sizes.

    Args:
        activation: Of any arithmetic.
        shape: Shape of one input, without the batch axis.
        seed: Of the points.

    Raises:
        AssertionError: naming the method that is wrong: `call`, `slopes`, `range`, `support`, `lipschitz` or
            `is_elementwise`.

    Example:

    ```python
    keraslip.testing.check_activation(HardTanh())
    ```
    """
    rng, exact = np.random.default_rng(seed), _in_float64(activation, shape)
    for grid in (False, True):
        for size in _SIZES:
            for width in _WIDTHS:
                z, rho = _box(rng, shape, size, width, grid)
                _check_box(exact, z, rho, rng)
    _check_training(activation, exact, shape, rng)
    _check_nan(exact, shape, rng)


def _in_float64(activation: Activation, shape: tuple[int, ...]) -> Activation:
    exact = activation.to(float64)
    try:
        found = exact.call(np.zeros((1, *shape)))
    except Exception as error:
        raise AssertionError(
            f"call: it fails on NumPy arrays, as certificates call it ({error!r}). Write it on "
            "self.arithmetic, which has NumPy's names, and keep every coefficient in a field"
        ) from error
    exactly = isinstance(found, np.ndarray) and found.dtype == np.float64
    require(exactly, "call", f"of float64 arrays it makes {getattr(found, 'dtype', type(found))}")
    require(found.shape == (1, *shape), "call", f"of shape {(1, *shape)} it makes {found.shape}")
    return exact


def _box(
    rng: np.random.Generator, shape: tuple[int, ...], size: float, width: float, grid: bool
) -> tuple[Array, Array]:
    """Centers and half widths; on a grid, so that ties and ends that touch occur, if asked."""
    z = size * rng.standard_normal((4, *shape))
    rho = size * width * rng.exponential(1.0, (4, *shape))
    if grid:
        z, rho = np.round(z * 2) / 2, np.round(rho * 2) / 2
    return z, rho


def _points(z: Array, rho: Array, rng: np.random.Generator) -> Array:
    """Points `(points, batch, *shape)` of a box: inside, corners, and with few entries moved."""
    share = rng.uniform(-1, 1, (_POINTS, *z.shape))
    share[: _POINTS // 2] = np.sign(share[: _POINTS // 2])
    few = rng.uniform(size=share.shape) < 1.5 / z[0].size
    share[::3] *= few[::3]
    return np.clip(z + share * rho, z - rho, z + rho)


def _check_box(exact: Activation, z: Array, rho: Array, rng: np.random.Generator) -> None:
    points, output = _points(z, rho, rng), exact.call(z)
    moved = points - z
    change = exact.call(points.reshape(-1, *z.shape[1:])).reshape(points.shape) - output
    slack = _NOISE * (1 + np.abs(points).max() + np.abs(output).max())
    soft = exact.slopes(z, rho, False)
    _check_slopes(exact, soft, change, moved, slack, "slopes(hard=False)")
    _check_bounds(soft, change, moved, slack)
    _check_support(exact, soft, z, rho, change, moved, slack, rng)
    _check_slopes(exact, exact.kept(z, rho), change, moved, slack, "kept")
    hard = exact.slopes(z, rho, True)
    order = rng.permutation(len(points))
    between = change - change[order], moved - moved[order]
    _check_slopes(exact, hard, *between, slack, "slopes(hard=True)")
    low, high = (side[None] for side in exact.range(z - rho, z + rho))
    value = output + change
    inside = (value >= low - slack) & (value <= high + slack)
    words = "an output leaves it, at {}, while the input stays in its box"
    require(
        inside, "range", words.format(place(~inside.reshape(len(value) * len(z), -1), z.shape[1:]))
    )
    if exact.is_elementwise:
        alone = np.abs(change) * (moved == 0.0)
        require(alone <= slack, "is_elementwise", "an output changes while its own input does not")


def _check_slopes(
    exact: Activation, slopes: Slopes, change: Array, moved: Array, slack: float, what: str
) -> None:
    """`change = diag(columns) g` with `||g|| <= ||diag(rows) moved||`."""
    shape = moved.shape[1:]
    rows, columns = (
        np.broadcast_to(np.asarray(part), shape) for part in (slopes.rows, slopes.columns)
    )
    require(
        (rows >= 0) & (columns >= 0), what, "weights of rows and columns are magnitudes, at least 0"
    )
    limit = float(np.max(exact.lipschitz)) * (1 + _NOISE)
    require(
        rows <= limit, "lipschitz", f"it is {limit:.6g}, but slopes gives rows of {rows.max():.6g}"
    )
    still = np.abs(change) * (columns == 0.0)
    where = place((still > slack).reshape(-1, still[0, 0].size), shape[1:])
    require(
        still <= slack,
        what,
        f"columns is 0 at {where}, but the output there moves by {still.max():.6g}",
    )
    inner = np.divide(change, columns, out=np.zeros_like(change), where=columns > 0)
    axes = tuple(range(2, change.ndim))
    reach = np.sqrt(np.square(inner).sum(axis=axes))
    allowed = np.sqrt(np.square(rows * moved).sum(axis=axes))
    noise = slack * np.sqrt(change[0, 0].size) / np.min(columns, where=columns > 0, initial=1.0)
    over = reach - allowed * (1 + 1e-9) - noise
    at = np.unravel_index(int(np.argmax(over)), over.shape)
    require(
        over <= 0,
        what,
        f"the output moves by {reach[at]:.6g} (divided by columns), where the rows allow {allowed[at]:.6g}",
    )


def _check_bounds(slopes: Slopes, change: Array, moved: Array, slack: float) -> None:
    """`change = D moved` with `low <= D <= high`, entry by entry."""
    if slopes.low is None or slopes.high is None:
        return
    for name, most in (("low", np.minimum), ("high", np.maximum)):
        least = most(slopes.low * moved, slopes.high * moved)
        wrong = (change < least - slack) if name == "low" else (change > least + slack)
        words = "a change of the output is outside of [low, high] times that of the input, at {}"
        where = place(wrong.reshape(-1, wrong[0, 0].size), moved.shape[2:])
        require(~wrong, "slopes(hard=False)", words.format(where))


def _check_support(
    exact: Activation,
    slopes: Slopes,
    z: Array,
    rho: Array,
    change: Array,
    moved: Array,
    slack: float,
    rng: np.random.Generator,
) -> None:
    """`c . change >= (c s) . moved - sum |c| q |moved|`; for elementwise ones entry by entry."""
    for _ in range(2):
        c = rng.standard_normal(z.shape)
        found = exact.support(c, z, rho, slopes)
        if found is None:
            return
        s, q = found
        excess = c * change - c * s * moved + np.abs(c) * q * np.abs(moved)
        if not exact.is_elementwise:
            excess = excess.sum(axis=tuple(range(2, excess.ndim)))
        size = slack * (1 + np.abs(c).max()) * (1 if exact.is_elementwise else change[0, 0].size)
        words = f"c . (phi(z') - phi(z)) is below its bound by {-excess.min():.6g}"
        require(excess >= -size, "support", words)


def _check_training(
    activation: Activation, exact: Activation, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    """The same numbers where networks are trained, and masks that leave no unit out that moves."""
    trained = activation.to(training)
    z = rng.standard_normal((4, *shape)).astype("float32")
    rho = rng.exponential(0.5, (4, *shape)).astype("float32")
    tensor = training.constant
    found = float64.constant(trained.call(tensor(z)))
    off = np.abs(found - exact.call(z.astype("float64"))).max()
    words = f"in training it is another function than in certificates, by up to {off:.3g}"
    require(off <= _ROUNDED * (1 + np.abs(found).max()), "call", words)
    mine, theirs = (
        trained.slopes(tensor(z), tensor(rho), True),
        exact.slopes(z.astype("float64"), rho.astype("float64"), True),
    )
    for name in ("rows", "columns"):
        pair: list[Any] = [float64.constant(getattr(mine, name)), getattr(theirs, name)]
        left, right = (np.broadcast_to(part, z.shape) for part in pair)
        words = f"in training their {name} are others than in certificates"
        require(np.abs(left - right) <= _ROUNDED * (1 + np.abs(right)), "slopes(hard=True)", words)


def _check_nan(exact: Activation, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """What is not known varies, unless nothing ever does."""
    z, rho = rng.standard_normal((1, *shape)), np.ones((1, *shape))
    nan = np.full_like(z, np.nan)
    for center, width in ((nan, rho), (z, nan)):
        for hard in (False, True):
            with np.errstate(invalid="ignore"):
                slopes = exact.slopes(center, width, hard)
            ever = exact.slopes(np.zeros_like(z), 1e6 * rho, hard)
            for name in ("rows", "columns"):
                weights = np.asarray(getattr(slopes, name))
                words = (
                    f"{name} are 0 for an input that is NaN. Comparisons with NaN are false: write "
                    "`varies = ~(constant)`"
                )
                constant = np.asarray(getattr(ever, name)) == 0.0
                require(constant | ~(weights == 0.0), f"slopes(hard={hard})", words)
