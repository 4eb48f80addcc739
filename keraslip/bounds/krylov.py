"""Largest singular vectors of many small problems at once: a few Lanczos steps for every sample."""

import math
from collections.abc import Callable

from keras import ops

from keraslip.typing import Tensor

Map = Callable[[Tensor], Tensor]

#: A new direction shorter than this share of what it was taken from is rounding: the space has ended.
_ENDED = 1e-5
#: The small matrix is squared so often in a row, and in so many rows: its 4096th power is one direction.
_SQUARINGS, _ROWS = 4, 3
#: Squares of lengths below this are zero; the maps are in units of a bound of their norms.
_TINY = 1e-30


def largest_input(adjoint: Map, forward: Map, start: Tensor, steps: int) -> Tensor:
    """What maps onto the largest singular vector, as far as a Krylov space of A A^T shows it.

    The space of q, A A^T q, ... has one dimension a step; in it the vector with the longest image under
    A^T is found exactly. Power iteration takes the last of these vectors instead, and forgets the others.
    No step is taken for a sample whose space has ended (rank one, zero masks): no NaN, and no noise.

    Args:
        adjoint: A^T for every sample, from `(batch, *out_shape)` to `(batch, *in_shape)`.
        forward: A for every sample.
        start: q, `(batch, *out_shape)`.
        steps: Dimension of the space: so many adjoint applications, one forward application less.

    Returns:
        A^T v for the best v of the space, `(batch, *in_shape)`, with `<v, start> >= 0`; of any length.

    Reference:

    - Golub, Van Loan, Matrix Computations, 4th edition, sections 10.1 and 10.4 (Lanczos, bidiagonalisation).
    """
    flat = _flat(start)
    q = flat * ops.rsqrt(ops.maximum(_squared(flat), _TINY))
    image = adjoint(ops.reshape(q, (-1, *start.shape[1:])))
    if steps == 1:
        return image
    shape = tuple(image.shape[1:])
    basis, images = [q], [_flat(image)]
    for _ in range(steps - 1):
        q = _next_direction(_flat(forward(image)), ops.stack(basis, axis=1))
        image = adjoint(ops.reshape(q, (-1, *start.shape[1:])))
        basis.append(q)
        images.append(_flat(image))
    rows = ops.stack(images, axis=1)
    best = largest_eigenvector(ops.matmul(rows, ops.transpose(rows, (0, 2, 1))))
    # The sign of the start: directions of several samples can be averaged.
    best = ops.where(best[:, :1] < 0.0, -best, best)
    return ops.reshape(ops.matmul(ops.expand_dims(best, 1), rows), (-1, *shape))


def largest_eigenvector(matrices: Tensor) -> Tensor:
    """A vector whose Rayleigh quotient is the largest eigenvalue, up to rounding; zero for a zero matrix.

    By squaring, which every backend compiles, and which neither NaN nor a double eigenvalue stops. Matrices
    `(batch, k, k)` are symmetric and positive semi-definite.
    """
    for _ in range(_ROWS):
        # The largest entry of such a matrix is on the diagonal, and at least its largest eigenvalue over k.
        largest = ops.max(matrices, axis=(1, 2), keepdims=True)
        matrices = matrices / ops.maximum(largest, _TINY)
        for _ in range(_SQUARINGS):
            matrices = ops.matmul(matrices, matrices)
    # The column where the eigenvector is largest.
    largest = ops.argmax(ops.diagonal(matrices, axis1=1, axis2=2), axis=-1)
    column = ops.one_hot(largest, matrices.shape[-1], dtype=matrices.dtype)
    return ops.squeeze(ops.matmul(matrices, ops.expand_dims(column, -1)), axis=-1)


def _next_direction(pushed: Tensor, basis: Tensor) -> Tensor:
    """What is new in `pushed`, of length 1; zero where nothing is."""
    new = pushed
    # Twice: what is short beside `pushed` is not yet orthogonal after the first time.
    for _ in range(2):
        shares = ops.matmul(basis, ops.expand_dims(new, -1))
        new = new - ops.squeeze(ops.matmul(ops.transpose(shares, (0, 2, 1)), basis), axis=1)
    squared, rounding = _squared(new), ops.maximum(_ENDED**2 * _squared(pushed), _TINY)
    return new * ops.where(squared <= rounding, 0.0, ops.rsqrt(ops.maximum(squared, _TINY)))


def _squared(x: Tensor) -> Tensor:
    return ops.sum(ops.square(x), axis=-1, keepdims=True)


def _flat(x: Tensor) -> Tensor:
    return ops.reshape(x, (-1, math.prod(x.shape[1:])))
