"""The bounds of the paper and of keraslip in plain float64 NumPy, on dense matrices.

Written from the published mathematics (Huang et al., 2021, arXiv 2111.01395), one sample at a time
and with a full SVD for every norm, to share nothing with the code it checks.
Networks are given as `dense_nets.py` describes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .dense_nets import Array as Array
from .dense_nets import Kind as Kind
from .dense_nets import activate as activate
from .dense_nets import channel_halves as channel_halves
from .dense_nets import counted_rows as counted_rows
from .dense_nets import forward as forward
from .dense_nets import spectral_norm as spectral_norm
from .dense_nets import varying as varying
from .helpers import materialise as materialise
from .helpers import points_in_ball as points_in_ball

# --- worst-case logits ----------------------------------------------------------------------------


def maximum_over_box(slope: Array, lower: Array, upper: Array) -> float:
    """Maximum of `slope . d` over `lower <= d <= upper`."""
    return float(np.sum(np.where(slope > 0, slope * upper, slope * lower)))


def maximum_over_ball_and_box(slope: Array, radius: float, lower: Array, upper: Array) -> float:
    """Maximum of `slope . d` over `||d||_2 <= radius` and `lower <= d <= upper`, to 1e-12.

    The solution is `d = clip(slope / lam, lower, upper)` for the `lam > 0` at which its norm is the
    radius, unless the corner of the box is inside the ball. Bisection keeps the radius between the
    norms at both ends; the value of the dual at any `lam` bounds the maximum from above.
    """
    corner = np.where(slope > 0, upper, np.where(slope < 0, lower, 0.0))
    if np.linalg.norm(corner) <= radius:
        return float(slope @ corner)
    if radius == 0.0:
        return 0.0

    def inside(lam: float) -> Array:
        return np.clip(slope / lam, lower, upper)

    low, high = 0.0, np.linalg.norm(slope) / radius
    for _ in range(200):
        lam = 0.5 * (low + high)
        low, high = (lam, high) if np.linalg.norm(inside(lam)) > radius else (low, lam)
    d = inside(high)
    return float(0.5 * high * radius**2 + np.sum(slope * d - 0.5 * high * d**2))


def worst_logits(
    logits: Array,
    label: int,
    weight: Array,
    radius: float,
    mask: Array,
    lower: Array,
    upper: Array,
    exact: bool,
) -> Array:
    """Worst-case logits from the last hidden tensor's radius, mask and deviations."""
    worst = logits.copy()
    for j in range(len(logits)):
        if j == label:
            continue
        slope = weight[j] - weight[label]
        ball = radius * float(np.linalg.norm(slope * mask))
        gain = min(ball, maximum_over_box(slope, lower, upper))
        if exact:
            gain = min(gain, maximum_over_ball_and_box(slope * mask, radius, lower, upper))
        worst[j] += gain
    return worst


# --- propagation ----------------------------------------------------------------------------------


def _propagate(
    weights: Sequence[Array],
    biases: Sequence[Array],
    activations: Sequence[Kind],
    x: Array,
    epsilon: float,
    label: int | None,
    *,
    paper: bool,
    masked_rows: bool,
    drop_rows: bool,
    exact: bool,
) -> dict[str, Any]:
    """Both bounds for one sample; `paper` says which radius and which boxes are used."""
    center, mask = x, np.ones(x.size, bool)
    lower, upper = x - epsilon, x + epsilon  # the ball's bounding box, not the input range
    radius, global_radius = epsilon, epsilon
    sample: dict[str, Any] = {
        name: []
        for name in (
            "pre_boxes", "post_boxes", "pre_centers", "centers", "masks", "rows",
            "norms", "global_norms", "radii", "global_radii",
        )
    }  # fmt: skip
    for weight, bias, kind in zip(weights[:-1], biases[:-1], activations, strict=True):
        z = weight @ center + bias
        lengths = np.linalg.norm(weight * mask if masked_rows else weight, axis=1)
        reach = (global_radius if paper else radius) * lengths
        z_lower, z_upper = z - reach, z + reach
        if paper:
            plus, minus = np.maximum(weight, 0.0), np.minimum(weight, 0.0)
            z_lower = np.maximum(z_lower, plus @ lower + minus @ upper + bias)
            z_upper = np.minimum(z_upper, plus @ upper + minus @ lower + bias)
        out_mask = varying(kind, z_lower, z_upper)
        rows = counted_rows(kind, z_lower, z_upper, out_mask, drop_rows)
        norm, global_norm = spectral_norm(weight[np.ix_(rows, mask)]), spectral_norm(weight)
        radius, global_radius = radius * norm, global_radius * global_norm
        center, mask = activate(kind, z), out_mask
        lower, upper = activate(kind, z_lower), activate(kind, z_upper)
        for name, value in {
            "pre_boxes": (z_lower, z_upper), "post_boxes": (lower, upper), "pre_centers": z,
            "centers": center, "masks": mask, "rows": rows, "norms": norm,
            "global_norms": global_norm, "radii": radius, "global_radii": global_radius,
        }.items():  # fmt: skip
            sample[name].append(value)
    weight = weights[-1]
    logits = weight @ center + biases[-1]
    label = int(np.argmax(logits)) if label is None else label
    last = (lower - center, upper - center)
    everything, anywhere = np.ones_like(mask), np.full(mask.shape, np.inf)
    open_box = (-anywhere, anywhere)
    sample["label"], sample["logits"] = label, logits
    sample["lipschitz"] = spectral_norm(weight * mask) * float(np.prod(sample["norms"]))
    sample["worst"] = worst_logits(logits, label, weight, radius, mask, *last, exact)
    sample["worst_ball"] = worst_logits(logits, label, weight, radius, mask, *open_box, False)
    sample["worst_global"] = worst_logits(
        logits, label, weight, global_radius, everything, *open_box, False
    )
    others = np.arange(len(logits)) != label
    sample["margin"] = logits[label] - sample["worst"][others].max()
    return sample


def _every_sample(
    weights: Sequence[Array],
    biases: Sequence[Array],
    activations: Sequence[Kind],
    x: Array,
    epsilon: float | Array,
    labels: Array | None,
    **options: bool,
) -> dict[str, Any]:
    """Run over a batch; arrays are stacked, per-layer lists hold stacked arrays."""
    weights = [np.asarray(w, "float64") for w in weights]
    biases = [np.asarray(b, "float64") for b in biases]
    flat = np.asarray(x, "float64").reshape(len(x), -1)
    radii = np.broadcast_to(np.asarray(epsilon, "float64"), (len(flat),))
    given = [None] * len(flat) if labels is None else [int(label) for label in labels]
    samples = [
        _propagate(weights, biases, activations, row, float(radius), label, **options)
        for row, radius, label in zip(flat, radii, given, strict=True)
    ]

    def stack(values: list[Any]) -> Any:
        if isinstance(values[0], list):
            return [stack(list(layer)) for layer in zip(*values, strict=True)]
        if isinstance(values[0], tuple):
            return tuple(np.stack(part) for part in zip(*values, strict=True))
        return np.stack(values)

    return {name: stack([sample[name] for sample in samples]) for name in samples[0]}


def paper_numpy(
    weights: Sequence[Array],
    biases: Sequence[Array],
    activations: Sequence[Kind],
    x: Array,
    epsilon: float | Array,
    labels: Array | None = None,
    *,
    masked_rows: bool = False,
    drop_rows: bool = False,
    exact: bool = False,
) -> dict[str, Any]:
    """Bound of the paper: interval boxes intersected with global balls, then masked norms.

    Args:
        weights: Matrices W_i, `(out, in)`, the last one to the logits.
        biases: Vectors b_i.
        activations: Kinds of the hidden layers, see the top of the file.
        x: Inputs, `(batch, ...)`.
        epsilon: L2 radius, a number or one for each sample.
        labels: True classes or None for the predicted ones.
        masked_rows: Whether the box of a unit uses `||W_j diag(a)||_2`; the paper: `||W_j||_2`.
        drop_rows: Whether MaxMin may drop rows; the paper does not.
        exact: Whether the worst-case logits use ball intersect box, not the smaller of the two.

    Returns:
        A dictionary. A list with one entry a hidden layer, each of `(batch, ...)`: `pre_boxes` and
        `post_boxes` (pairs lower, upper), `pre_centers`, `centers`, `masks`, `rows`, `norms`,
        `global_norms`, `radii`, `global_radii` (after the layer). An array over the batch: `label`,
        `logits`, `lipschitz` (bound of all logits in the ball), `worst`, `worst_ball` (last layer
        with the ball alone), `worst_global` (no masks at all), `margin`.
    """
    options = {"masked_rows": masked_rows, "drop_rows": drop_rows, "exact": exact}
    return _every_sample(weights, biases, activations, x, epsilon, labels, paper=True, **options)


def local_numpy(
    weights: Sequence[Array],
    biases: Sequence[Array],
    activations: Sequence[Kind],
    x: Array,
    epsilon: float | Array,
    labels: Array | None = None,
    *,
    masked_rows: bool = True,
    drop_rows: bool = True,
    exact: bool = True,
) -> dict[str, Any]:
    """keraslip's bound: the local ball of the tensor before gives the boxes, the masks, the ball.

    Arguments and result as for `paper_numpy`.
    """
    options = {"masked_rows": masked_rows, "drop_rows": drop_rows, "exact": exact}
    return _every_sample(weights, biases, activations, x, epsilon, labels, paper=False, **options)
