"""Per-sample norms of masked linear maps by power iteration: estimates, for training."""

from typing import Any

from keras import ops

from keraslip.bounds.maps import LinearMap
from keraslip.bounds.numerics import euclidean, normalize, per_sample

Tensor = Any

#: Above this count the iterations run in a loop of the backend rather than unrolled.
_UNROLL = 4

#: Iterations on the shared start alone, before every sample goes on from it: as cheap as one sample's.
SHARED_ITERATIONS = 4


#: Share of the given start that is kept beside what the shared iterations reached.
_KEPT = 0.01


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
        The norms, `(batch,)` (`(1,)` without masks), NaN from a start that is not finite, and the mean
        of the directions reached, `(1, *out_shape)` without gradient: the next shared start.

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4: the local Lipschitz bound with indicator matrices.
    """
    frozen = linear_map if differentiate else linear_map.constant()
    # A bound of the norm as the unit of length: squares neither overflow nor vanish for any weights.
    unit = ops.stop_gradient(frozen.norm_bound())
    unit = ops.where(unit <= 0.0, ops.ones_like(unit), unit)
    start = vector
    if not differentiate and vector.shape[0] == 1:
        start = _iterate(frozen, start, _mean(in_mask), _mean(out_mask), unit, SHARED_ITERATIONS)
        # A little of the given start stays: where a mask removes the direction that the batch shares,
        # too little of any other would be left to grow.
        start = start + _KEPT * vector
    # All samples' vectors from here on, so that a loop of the backend sees one shape.
    start = _batched(start, in_mask, out_mask)
    start = _iterate(frozen, start, in_mask, out_mask, unit, power_iterations - 1)
    u = _input_vector(frozen, start, in_mask, out_mask, unit)
    image = _masked(linear_map.forward(u if differentiate else ops.stop_gradient(u)), out_mask)
    length = _unless_bad(euclidean(image), vector)
    return unit * length, _next_start(ops.stop_gradient(image), ops.stop_gradient(length), vector)


def _unless_bad(length: Tensor, vector: Tensor) -> Tensor:
    """The length, or NaN where the start was not finite."""
    # XLA computes a product with a mask as a selection: NaN * 0 is 0 there, and NaN elsewhere.
    finite = ops.isfinite(ops.sum(vector, axis=tuple(range(1, len(vector.shape)))))
    return ops.where(finite, length, ops.full_like(length, float("nan")))


def _input_vector(
    linear_map: LinearMap, v: Tensor, in_mask: Tensor | None, out_mask: Tensor | None, unit: Tensor
) -> Tensor:
    """`A^T v`, as long as one unit is short: its image has a length of at most 1."""
    pulled = _masked(linear_map.adjoint(_masked(v, out_mask) / unit), in_mask)
    return _scaled_to(pulled, 1.0 / unit)


def _iterate(
    linear_map: LinearMap,
    start: Tensor,
    in_mask: Tensor | None,
    out_mask: Tensor | None,
    unit: Tensor,
    count: int,
) -> Tensor:
    """Power iterations on `A A^T`, A the masked map."""

    def once(v: Tensor) -> Tensor:
        u = _input_vector(linear_map, v, in_mask, out_mask, unit)
        return _scaled_to(_masked(linear_map.forward(u), out_mask), 1.0)

    if count > _UNROLL:
        return ops.fori_loop(0, count, lambda _, v: once(v), start)
    for _ in range(count):
        start = once(start)
    return start


def _scaled_to(x: Tensor, length: Tensor | float) -> Tensor:
    """Every sample scaled to a length; zero stays zero."""
    norm = euclidean(x)
    factor = length / ops.where(norm <= 0.0, ops.ones_like(norm), norm)
    return x * per_sample(factor, len(x.shape))


def _next_start(images: Tensor, lengths: Tensor, previous: Tensor) -> Tensor:
    """The mean direction of a batch; the previous start where that is zero or NaN."""
    # Every sample's image is M v for the same v with M positive semi-definite: signs agree.
    weights = 1.0 / ops.where(lengths <= 0.0, ops.ones_like(lengths), lengths)
    flat = ops.reshape(images, (ops.shape(images)[0], -1))
    mean = ops.reshape(ops.matmul(ops.expand_dims(weights, 0), flat), (1, *images.shape[1:]))
    mean = normalize(mean)
    usable = ops.sum(ops.square(mean)) > 0.5
    return ops.where(usable, mean, ops.mean(previous, axis=0, keepdims=True))


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def _mean(mask: Tensor | None) -> Tensor | None:
    """How often a unit varies in the batch."""
    return None if mask is None else ops.mean(mask, axis=0, keepdims=True)


def _batched(vector: Tensor, in_mask: Tensor | None, out_mask: Tensor | None) -> Tensor:
    """Repeats a shared vector to the batch size of the masks, and masks it."""
    if out_mask is not None:
        return vector * out_mask
    if in_mask is None or vector.shape[0] != 1:
        return vector
    ones = ops.ones_like(ops.reshape(in_mask, (ops.shape(in_mask)[0], -1))[:, 0])
    return vector * per_sample(ones, len(vector.shape))
