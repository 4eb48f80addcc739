"""Per-sample norms of masked linear maps by power iteration: estimates, for training."""

from typing import Any

from keras import ops

from keraslip.bounds.maps import LinearMap
from keraslip.bounds.numerics import l2_norm, normalize

Tensor = Any

#: Above this count the iterations run in a loop of the backend rather than unrolled.
_UNROLL = 4

#: Iterations on the shared start alone, before every sample goes on from it: as cheap as one sample's.
SHARED_ITERATIONS = 8


def masked_norm(
    linear_map: LinearMap,
    vector: Tensor,
    in_mask: Tensor | None = None,
    out_mask: Tensor | None = None,
    power_iterations: int = 1,
    differentiate: bool = False,
) -> tuple[Tensor, Tensor]:
    """`||diag(out_mask) W diag(in_mask)||_2` of every sample, approached from below.

    One iteration is an adjoint and a forward application; the last forward application is the norm
    itself, `sigma = ||A u||` with u held constant, whose gradient `v u^T` is exact at convergence.

    Args:
        linear_map: The map W.
        vector: Start on the output side, `(1, *out_shape)` (shared by the batch) or one for each sample.
        in_mask: 1.0 for the columns to keep, `(batch, *in_shape)`, or `None`.
        out_mask: 1.0 for the rows to keep, `(batch, *out_shape)`, or `None`.
        power_iterations: Number of iterations, at least 1.
        differentiate: Let gradients run through every iteration, as the published algorithm does.

    Returns:
        The norms, `(batch,)` (`(1,)` without masks), and the unit vectors reached, `(batch, *out_shape)`.

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4: the local Lipschitz bound with indicator matrices.
    """
    frozen = linear_map if differentiate else linear_map.constant()
    start = vector
    if not differentiate and vector.shape[0] == 1:
        start = _iterate(frozen, start, _mean(in_mask), _mean(out_mask), SHARED_ITERATIONS)
    # All samples' vectors from here on, so that a loop of the backend sees one shape.
    start = _masked(_batched(start, in_mask), out_mask)
    start = _iterate(frozen, start, in_mask, out_mask, power_iterations - 1)
    u = normalize(_masked(frozen.adjoint(start), in_mask))
    image = _masked(linear_map.forward(u if differentiate else ops.stop_gradient(u)), out_mask)
    return l2_norm(image), ops.stop_gradient(normalize(image))


def _iterate(
    linear_map: LinearMap,
    start: Tensor,
    in_mask: Tensor | None,
    out_mask: Tensor | None,
    count: int,
) -> Tensor:
    """Power iterations on `A A^T`, A the masked map."""

    def once(v: Tensor) -> Tensor:
        u = _masked(linear_map.adjoint(_masked(v, out_mask)), in_mask)
        return normalize(_masked(linear_map.forward(u), out_mask))

    if count > _UNROLL:
        return ops.fori_loop(0, count, lambda _, v: once(v), start)
    for _ in range(count):
        start = once(start)
    return start


def shared_start(vectors: Tensor, previous: Tensor) -> Tensor:
    """The next start of the power iteration: the mean direction of the batch.

    Args:
        vectors: Unit vectors of the samples, `(batch, *out_shape)`.
        previous: The start used before, `(1, *out_shape)`; kept where the new one would be zero or NaN.

    Returns:
        Tensor `(1, *out_shape)`, without gradient.
    """
    # Every sample's vector is M^k times the same start with M positive semi-definite: signs agree.
    mean = normalize(ops.mean(vectors, axis=0, keepdims=True))
    usable = ops.sum(ops.square(mean)) > 0.5
    return ops.stop_gradient(ops.where(usable, mean, previous))


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def _mean(mask: Tensor | None) -> Tensor | None:
    """How often a unit varies in the batch."""
    return None if mask is None else ops.mean(mask, axis=0, keepdims=True)


def _batched(vector: Tensor, mask: Tensor | None) -> Tensor:
    """Repeats a shared vector to the batch size of the mask."""
    if mask is None or vector.shape[0] != 1:
        return vector
    ones = ops.ones_like(ops.reshape(mask, (ops.shape(mask)[0], -1))[:, :1])
    return vector * ops.reshape(ones, (-1,) + (1,) * (len(vector.shape) - 1))
