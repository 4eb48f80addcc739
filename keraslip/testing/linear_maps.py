"""Whether a linear map is what it says: adjoint, row norms and bounds against its dense matrix."""

import math
from typing import Any

import numpy as np

from keraslip.arithmetic import float64, training
from keraslip.linear import LinearMap
from keraslip.testing.failure import in_float64, require
from keraslip.typing import Array

#: Of float64, and of float32, relative to the largest entry.
_EXACT, _ROUNDED = 1e-9, 1e-4
#: Entries of the matrix that is written out.
LARGEST = 4_000_000


def check_map(linear_map: LinearMap, seed: int = 0) -> None:
    """Holds a linear map against the matrix that its `forward` is, in training and in certificates.

    Args:
        linear_map: A small map, of at most 2000 inputs and outputs or so: its matrix is written out.
        seed: Of the vectors.

    Raises:
        AssertionError: naming the method that is wrong: `forward`, `adjoint`, `row norms`, `norm bound`,
            `absolute` or `isometry`.

    Example:

    ```python
    keraslip.testing.check_map(MirrorMap((4, 7, 2)))  # sides of different lengths show more
    ```
    """
    inputs, outputs = math.prod(linear_map.in_shape), math.prod(linear_map.out_shape)
    if inputs * outputs > LARGEST:
        raise ValueError(
            f"The matrix of the map is written out; take a smaller one. Received: {linear_map!r}"
        )
    rng = np.random.default_rng(seed)
    exact = in_float64(linear_map, "forward", linear_map.in_shape)
    matrix = _matrix(exact, rng)
    _check_training(linear_map, matrix)
    _check_adjoint(exact, matrix)
    _check_rows(exact, matrix, rng)
    _check_whole(exact, matrix)


def _matrix(exact: LinearMap, rng: np.random.Generator) -> Array:
    """The dense matrix `(outputs, inputs)`."""
    size, what = math.prod(exact.in_shape), "forward"
    images = exact.forward(np.eye(size).reshape(size, *exact.in_shape))
    expected = (size, *exact.out_shape)
    require(images.shape == expected, what, f"its output has shape {images.shape}, not {expected}")
    matrix = np.asarray(images.reshape(size, -1).T)
    x, shift = rng.standard_normal((2, size)), exact.forward(np.zeros((1, *exact.in_shape)))
    words = "of zero it makes something else; what is added belongs in the rule's bias"
    require(shift == 0, what, words)
    found = exact.forward(x.reshape(2, *exact.in_shape)).reshape(2, -1)
    size_of = 1 + np.abs(x) @ np.abs(matrix.T)
    require(np.abs(found - x @ matrix.T) <= _EXACT * size_of, what, "it is not linear")
    for scale in (2.0**-40, 2.0**40):
        scaled = exact.forward(scale * x.reshape(2, *exact.in_shape)).reshape(2, -1) / scale
        words = f"it is not linear: of a vector of {scale:.0e} it makes something else"
        require(np.abs(scaled - found) <= _EXACT * size_of, what, words)
    return matrix


def _check_training(linear_map: LinearMap, matrix: Array) -> None:
    """The same numbers where networks are trained."""
    size = matrix.shape[1]
    basis = np.eye(size, dtype="float32").reshape(size, *linear_map.in_shape)
    trained = linear_map.to(training)
    found = float64.constant(trained.forward(training.constant(basis))).reshape(size, -1).T
    off = np.abs(found - matrix).max(initial=0.0)
    words = f"in training it is another map than in certificates, by up to {off:.3g} in an entry"
    require(off <= _ROUNDED * (1e-30 + np.abs(matrix).max(initial=0.0)), "forward", words)


def _check_adjoint(exact: LinearMap, matrix: Array) -> None:
    outputs, what = len(matrix), "adjoint"
    rows = exact.adjoint(np.eye(outputs).reshape(outputs, *exact.out_shape))
    expected = (outputs, *exact.in_shape)
    require(rows.shape == expected, what, f"its output has shape {rows.shape}, not {expected}")
    off = np.abs(rows.reshape(matrix.shape) - matrix)
    wrong = off > _EXACT * np.abs(matrix).max(initial=0.0)
    if wrong.any() or np.isnan(off).any():
        worst = np.argmax(np.where(np.isnan(off), np.inf, off))
        out, into = _index(worst, off.shape)
        raise AssertionError(
            f"{what}: it is not the transpose of forward. From input {_index(into, exact.in_shape)} to "
            f"output {_index(out, exact.out_shape)} forward has {matrix[out, into]:.6g}, adjoint "
            f"{rows.reshape(matrix.shape)[out, into]:.6g}"
        )


def _index(flat: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(flat), shape))


def _check_rows(exact: LinearMap, matrix: Array, rng: np.random.Generator) -> None:
    """Upper bounds of the norms of rows, with masks and with weights."""
    masks: list[Array | None] = [
        None,
        *(rng.uniform(size=(2, *exact.in_shape)) < share for share in (0.3, 0.8)),
    ]
    masks.append(np.clip(rng.uniform(-0.5, 1.5, (2, *exact.in_shape)), 0.0, 1.0))
    for mask in masks:
        weights = np.ones((1, *exact.in_shape)) if mask is None else mask.astype("float64")
        true = np.linalg.norm(matrix * weights.reshape(len(weights), 1, -1), axis=2)
        for tight in (False, True):
            found = exact.row_norms(None if mask is None else weights, tight)
            claimed = _spread(found, (len(weights), *exact.out_shape)).reshape(true.shape)
            wrong = ~(claimed >= true * (1 - _EXACT) - 1e-300)
            if wrong.any():
                sample = int(np.argmax(wrong.any(axis=1)))
                entry = int(np.argmax(wrong[sample]))
                which = "" if mask is None else " with a mask"
                raise AssertionError(
                    f"row norms: too small{which}, tight={tight}. At output {_index(entry, exact.out_shape)} "
                    f"{claimed[sample, entry]:.6g} is claimed, the row has norm {true[sample, entry]:.6g}"
                )


def _spread(found: Any, shape: tuple[int, ...]) -> Array:
    """Numbers for every entry; with all axes written out, for radii of samples are multiplied by them."""
    found = np.asarray(found)
    fits = found.ndim == len(shape) and all(
        a in (1, b) for a, b in zip(found.shape, shape, strict=False)
    )
    words = (
        f"their shape {found.shape} has to be {shape}, with 1 for axes that they do not depend on"
    )
    require(fits, "row norms", words)
    return np.broadcast_to(found, shape)


def _check_whole(exact: LinearMap, matrix: Array) -> None:
    """Bounds of the whole map."""
    norm = float(np.linalg.norm(matrix, 2)) if matrix.size else 0.0
    for name in ("norm_bound", "unit"):
        found = getattr(exact, name)()
        require(np.shape(found) == (), "norm bound", f"{name}() is no scalar: {found!r}")
        claimed = float(found)
        words = f"{name}() is {claimed:.6g}, but the map stretches a vector by {norm:.6g}"
        require(claimed >= norm * (1 - _EXACT), "norm bound", words)
    absolute = exact.absolute()
    size = matrix.shape[1]
    found = absolute.forward(np.eye(size).reshape(size, *exact.in_shape)).reshape(size, -1).T
    wrong = ~(found >= np.abs(matrix) - _EXACT * np.abs(matrix).max(initial=0.0))
    where = _index(np.argmax(wrong.any(axis=1)), exact.out_shape) if wrong.any() else ()
    require(
        ~wrong,
        "absolute",
        f"its matrix has to be at least the magnitudes of this one's; at output {where} it is not. A map "
        "with a sign in none of its fields overrides it",
    )
    if exact.isometry:
        moved = (matrix == 0.0) | (matrix == 1.0)
        once = ((matrix != 0.0).sum(axis=axis) <= 1 for axis in (0, 1))
        words = "every output has to be an input, each used at most once, or zero"
        require(moved.all() and all(each.all() for each in once), "isometry", words)
