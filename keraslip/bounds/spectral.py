"""Norms of masked linear maps from below, a few products for every sample: estimates, for training."""

from keras import ops

from keraslip.bounds.krylov import largest_input
from keraslip.bounds.numerics import euclidean, normalize, per_sample
from keraslip.linear import LinearMap
from keraslip.typing import Tensor

#: Above this count the iterations with gradients run in a loop of the backend rather than unrolled.
_UNROLL = 4

#: Steps on the shared start alone, before every sample goes on from it: as cheap as one sample's.
SHARED_ITERATIONS = 2

#: So many iterations are written out as one Krylov space; of more, spaces of `LOOPED` dimensions in a loop of
#: the backend, for what is written out takes JAX and XLA seconds to compile.
UNROLLED, LOOPED = 6, 4

#: Share of the given start that is kept beside what the shared steps reached.
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

    One iteration is an adjoint and a forward application. What they are combined to is the best vector of
    the space they span (Lanczos), which reaches a norm in a fraction of a power iteration's steps. The last
    forward application is the norm itself, `sigma = ||A u||` with u held constant, whose gradient `v u^T`
    is exact at convergence.

    Args:
        linear_map: The map W.
        vector: Start on the output side, `(1, *out_shape)` (shared by the batch) or one for each sample.
        in_mask: Weights of the columns, 1.0 for those to keep and 0.0 for the others or slopes between,
            `(batch, *in_shape)`, or `None`.
        out_mask: The same of the rows, `(batch, *out_shape)`, or `None`.
        power_iterations: Number of iterations, at least 1.
        differentiate: Power iterations proper, with gradients through every one, as the published
            algorithm has them.

    Returns:
        The norms, `(batch,)` (`(1,)` without masks), NaN from a start that is not finite, and the mean
        of the directions reached, `(1, *out_shape)` without gradient: the next shared start.

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4: the local Lipschitz bound with indicator matrices.
    """
    frozen = (linear_map if differentiate else linear_map.constant()).prepared()
    # A bound of the norm as the unit of length: squares neither overflow nor vanish for any weights.
    unit = ops.stop_gradient(frozen.unit())
    unit = ops.where(unit <= 0.0, ops.ones_like(unit), unit)
    masked = _Masked(frozen, in_mask, out_mask, unit)
    if differentiate:
        u = masked.iterated(masked.start(vector), power_iterations)
    else:
        start = vector
        if vector.shape[0] == 1 and (in_mask is not None or out_mask is not None):
            start = _shared_start(masked, vector)
        u = ops.stop_gradient(masked.best(masked.start(start), power_iterations))
    image = _masked(linear_map.forward(_masked(u, in_mask)), out_mask)
    length = _unless_bad(euclidean(image), vector)
    return unit * length, _next_start(ops.stop_gradient(image), ops.stop_gradient(length), vector)


class _Masked:
    """The map A = diag(out_mask) W diag(in_mask) of every sample, in units of a bound of its norm."""

    def __init__(
        self, linear_map: LinearMap, in_mask: Tensor | None, out_mask: Tensor | None, unit: Tensor
    ) -> None:
        self.map, self.in_mask, self.out_mask, self.unit = linear_map, in_mask, out_mask, unit

    def adjoint(self, v: Tensor) -> Tensor:
        """`A^T v / unit`."""
        # Both masks each time: slopes, and means over samples, are more than zeros and ones.
        return _masked(self.map.adjoint(_masked(v, self.out_mask) / self.unit), self.in_mask)

    def forward(self, u: Tensor) -> Tensor:
        """`A u / unit`."""
        return self.image(u / self.unit)

    def image(self, u: Tensor) -> Tensor:
        """`A u`."""
        return _masked(self.map.forward(_masked(u, self.in_mask)), self.out_mask)

    def scaled(self, u: Tensor) -> Tensor:
        """u as long as one unit is short: its image has a length of at most 1."""
        return _scaled_to(u, 1.0 / self.unit)

    def best(self, start: Tensor, count: int) -> Tensor:
        """The input, in that length, whose image is longest as far as `count` products show."""
        if count <= UNROLLED:
            return self.scaled(largest_input(self.adjoint, self.forward, start, count))

        def cycle(v: Tensor) -> Tensor:
            u = largest_input(self.adjoint, self.forward, v, LOOPED)
            return self.forward(_scaled_to(u, 1.0))

        cycles = -(-count // LOOPED)
        start = ops.fori_loop(0, cycles, lambda _, v: cycle(v), start)
        return self.scaled(self.adjoint(start))

    def iterated(self, start: Tensor, count: int) -> Tensor:
        """The same by power iteration."""

        def once(v: Tensor) -> Tensor:
            return _scaled_to(self.image(self.scaled(self.adjoint(v))), 1.0)

        if count - 1 > _UNROLL:
            start = ops.fori_loop(0, count - 1, lambda _, v: once(v), start)
        else:
            for _ in range(count - 1):
                start = once(start)
        return self.scaled(self.adjoint(start))

    def start(self, vector: Tensor) -> Tensor:
        """A vector masked, and repeated to the batch size of the masks: loops see one shape."""
        if self.out_mask is not None:
            return vector * self.out_mask
        if self.in_mask is None or vector.shape[0] != 1:
            return vector
        ones = ops.ones_like(ops.reshape(self.in_mask, (ops.shape(self.in_mask)[0], -1))[:, 0])
        return vector * per_sample(ones, len(vector.shape))


def _shared_start(masked: _Masked, vector: Tensor) -> Tensor:
    """Where all samples start: a few steps from the given start, with the masks' means."""
    shared = _Masked(masked.map, _mean(masked.in_mask), _mean(masked.out_mask), masked.unit)
    u = shared.best(shared.start(vector), SHARED_ITERATIONS)
    start = _scaled_to(shared.forward(u * masked.unit), 1.0)
    # A little of the given start stays: where a mask removes the direction that the batch shares,
    # too little of any other would be left to grow.
    return start + _KEPT * vector


def _unless_bad(length: Tensor, vector: Tensor) -> Tensor:
    """The length, or NaN where the start was not finite."""
    # XLA computes a product with a mask as a selection: NaN * 0 is 0 there, and NaN elsewhere.
    finite = ops.isfinite(ops.sum(vector, axis=tuple(range(1, len(vector.shape)))))
    return ops.where(finite, length, ops.full_like(length, float("nan")))


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
