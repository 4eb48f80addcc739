"""What elementwise activations and MaxMin do to a box: constant units, new box, sparsity penalty."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

Tensor = Any
Box = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class ActivationBounds:
    """What is known of an activation's output when its input lies in a box.

    The output's box and the penalty are functions: few passes ask for them, and eager backends would
    compute them all the same.

    Args:
        center: Output at the clean input.
        varying: 1.0 for the outputs that may change.
        rows: 1.0 for the input units whose row of the pending map counts towards the output's norm, or
            `None` for all.
        box: Gives the smallest and largest output.
        penalty: Gives the paper's sparsity loss of this activation, `(batch,)`.
        paper_rows: As `rows`, as far as the published algorithm drops rows.
    """

    center: Tensor
    varying: Tensor
    rows: Tensor | None
    box: Callable[[], Box]
    penalty: Callable[[], Tensor]
    paper_rows: Tensor | None = None


def _not(constant: Tensor, like: Tensor) -> Tensor:
    """1.0 where not constant; comparisons with NaN are false, so NaN counts as varying."""
    return ops.stop_gradient(ops.cast(ops.logical_not(constant), like.dtype))


def clipped_relu(z: Tensor, threshold: Tensor | None) -> Tensor:
    """`min(max(z, 0), threshold)`, without the minimum if the threshold is `None`."""
    positive = ops.relu(z)
    return positive if threshold is None else ops.minimum(positive, threshold)


def clipped_relu_bounds(
    z: Tensor, lower: Tensor, upper: Tensor, threshold: Tensor | None
) -> ActivationBounds:
    """ReLU, clipped at a threshold or not.

    Args:
        z: Input at the center.
        lower: Smallest input.
        upper: Largest input.
        threshold: Broadcastable to `z`, or `None`.

    Returns:
        The `ActivationBounds`. The penalty is `mean(relu(upper)) + 0.1 mean(relu(theta - lower))`.

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4.2 (clipped ReLU, sparsity loss).
    """
    constant = upper <= 0.0
    if threshold is not None:
        constant = ops.logical_or(constant, ops.logical_or(lower >= threshold, threshold <= 0.0))
    varying = _not(constant, z)

    def penalty() -> Tensor:
        reach = _mean(ops.relu(upper))
        return reach if threshold is None else reach + 0.1 * _mean(ops.relu(threshold - lower))

    return ActivationBounds(
        clipped_relu(z, threshold),
        varying,
        varying,
        lambda: (clipped_relu(lower, threshold), clipped_relu(upper, threshold)),
        penalty,
        paper_rows=varying,
    )


def clipped_maxmin(z: Tensor, upper: Tensor | None, lower: Tensor | None, axis: int) -> Tensor:
    """`(min(max(p, q), upper), max(min(p, q), lower))` of the halves p, q along an axis."""
    p, q = ops.split(z, 2, axis=axis)
    return _clip_pair(ops.maximum(p, q), ops.minimum(p, q), upper, lower, axis)


def clipped_maxmin_bounds(
    z: Tensor,
    lower: Tensor,
    upper: Tensor,
    thresholds: tuple[Tensor | None, Tensor | None],
    axis: int,
) -> ActivationBounds:
    """MaxMin on channel halves, clipped or not.

    A row of the pending map may be dropped where both outputs of its pair are constant, and where the
    order of the pair is certain and the row's own output is constant.

    Args:
        z: Input at the center.
        lower: Smallest input.
        upper: Largest input.
        thresholds: Upper clip M of the maximum and lower clip m of the minimum, or `None`s.
        axis: The channel axis.

    Returns:
        The `ActivationBounds`. The penalty is `mean(relu(M - lower_max)) + mean(relu(upper_min - m))`.

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4.2 and appendix (clipped MaxMin).
    """
    (lp, lq), (up, uq) = ops.split(lower, 2, axis=axis), ops.split(upper, 2, axis=axis)
    clip, floor = thresholds
    low_max, high_min = ops.maximum(lp, lq), ops.minimum(up, uq)
    vary_max = vary_min = ops.ones_like(lp)
    if clip is not None:
        vary_max = _not(low_max >= clip, z)
    if floor is not None:
        vary_min = _not(high_min <= floor, z)
    either = ops.maximum(vary_max, vary_min)
    p_is_max, q_is_max = lp >= uq, lq >= up
    rows_p = ops.where(p_is_max, vary_max, ops.where(q_is_max, vary_min, either))
    rows_q = ops.where(q_is_max, vary_max, ops.where(p_is_max, vary_min, either))
    clipped = clip is not None or floor is not None

    def box() -> Box:
        low = _clip_pair(low_max, ops.minimum(lp, lq), clip, floor, axis)
        return low, _clip_pair(ops.maximum(up, uq), high_min, clip, floor, axis)

    def penalty() -> Tensor:
        if clip is None or floor is None:
            return ops.zeros_like(ops.reshape(z, (ops.shape(z)[0], -1))[:, 0])
        return _mean(ops.relu(clip - low_max)) + _mean(ops.relu(high_min - floor))

    return ActivationBounds(
        clipped_maxmin(z, clip, floor, axis),
        ops.concatenate([vary_max, vary_min], axis=axis),
        ops.stop_gradient(ops.concatenate([rows_p, rows_q], axis=axis)) if clipped else None,
        box,
        penalty,
    )


def _clip_pair(
    largest: Tensor, smallest: Tensor, upper: Tensor | None, lower: Tensor | None, axis: int
) -> Tensor:
    if upper is not None:
        largest = ops.minimum(largest, upper)
    if lower is not None:
        smallest = ops.maximum(smallest, lower)
    return ops.concatenate([largest, smallest], axis=axis)


def _mean(x: Tensor) -> Tensor:
    return ops.mean(ops.reshape(x, (ops.shape(x)[0], -1)), axis=-1)
