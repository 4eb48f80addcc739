"""An independent check of saved certificates: plain NumPy, float64, dense singular values.

    python -m keraslip.certify.check certificates.npz

It shares no code with the certifier and imports NumPy alone, so that this file can be read, kept and run
without keraslip. It computes the network, the local Lipschitz bound and the composite bound again, sample by
sample, for the ideal network, at epsilon and at the certified radius. It searches every ball for another
label. And it holds logits that the backend computed when the file was written against its own, within what
float32 may round, and, where the certificates are about float32, against what is claimed of them. Margins and
Lipschitz constants are searched for what contradicts them; only labels and radii are confirmed.

Status 0: something is confirmed and nothing contradicted (`--strict`: and nothing is left unconfirmed, the
execution included). Status 1: that is not so. Status 2: the file cannot be checked.
"""

import argparse
import json
import sys
from typing import Any

import numpy as np

Array = np.ndarray
#: One step of the network: its matrices by source under "from", its constant, its activation.
Step = dict[str, Any]
#: Unit roundoff and smallest number of float32; what float64 here may round, relative to the numbers.
UNIT, SMALLEST, NOISE = 2.0**-24, 2.0**-126, 1e-12
#: Of what float32 may round, more than float64 may; and of a bound, more than float64 loses of it.
FINER, LOST = 2.0**-28, 1e-12
#: Steps and share of the radius of the search in a ball.
STEPS, INSIDE = 10, 0.999
#: Larger balls whose slopes may confirm a smaller one.
FACTORS = (1.0, 1.03, 1.07, 1.12, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.2, 3.0)
#: Activations of straight pieces, how many roundings of float32 one of them may take, and all kinds.
STRAIGHT, PIECES = "piecewise_linear", 8.0
#: Curved activations: parts of a box on either side of its center. By name the largest magnitude of the
#: second derivative, where that is zero, and 1 or -1 for the way it bends below. For others see `shape`.
CURVED, PARTS = "smooth", 512
SHAPES: dict[str, tuple[float, tuple[float, ...], float]] = {
    "Tanh": (0.8, (0.0,), 1.0),
    "TanhShrink": (0.8, (0.0,), -1.0),
    "Softsign": (2.0, (0.0,), 1.0),
    "Sigmoid": (0.1, (0.0,), 1.0),
    "Softplus": (0.25, (), 1.0),
    "SparsePlus": (0.5, (), 1.0),
    "LogSigmoid": (0.25, (), -1.0),
    "SiLU": (0.5, (-2.3993572805154667, 2.3993572805154667), -1.0),
    "GELU": (0.8, (-(2**0.5), 2**0.5), -1.0),
    "ApproximateGELU": (0.85, (-1.4185040087908284, 1.4185040087908284), -1.0),
    "Mish": (0.7, (-2.2563763963607933, 1.4905711794854284), -1.0),
}
NAMES = (*SHAPES, "ELU", "HardSiLU", "Squareplus")
KINDS = ("clipped_relu", "maxmin", "sort", "largest", STRAIGHT, CURVED)
#: Radii are infinite where nothing moves the logits.
FAR = 1e150


class Unreadable(Exception):
    """There is nothing to check."""


def read(path: str) -> tuple[list[Step], Step]:
    """The network as a list of steps; inputs, executions and what was claimed of them."""
    try:
        # Opened here: NumPy leaves the file open where it cannot read it.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except OSError as error:
        raise Unreadable(error.strerror or "it cannot be read") from None
    except Exception as error:
        raise Unreadable(f"it is no file of certificates, or damaged ({error})") from None
    if "check_rows" not in arrays:
        raise Unreadable(
            "it holds no network; write it with certificates.save(path, model=model, x=x), or with "
            "keraslip certify --evidence"
        )
    try:
        steps, claims = network(arrays), samples(arrays)
        label, classes = claims["label"], len(steps[-1]["constant"])
        if classes < 2 or label.dtype.kind not in "iu" or ((label < 0) | (label >= classes)).any():
            raise ValueError(f"labels, or logits of {classes} classes")
        return steps, claims
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise Unreadable(f"its arrays do not belong together ({error!r})") from None


def network(arrays: dict[str, Array]) -> list[Step]:
    """The steps, checked and with the norms of their matrices."""
    steps: list[Step] = []
    sizes = [arrays["check_x"].shape[1]]
    while f"check_{len(steps) + 1}_constant" in arrays:
        prefix = f"check_{len(steps) + 1}_"
        step: Step = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
        step["from"], step["absolute"] = {}, {}
        for name in [name for name in step if name.startswith("matrix_")]:
            source, matrix = int(name.rsplit("_", 1)[1]), step.pop(name)
            if matrix.shape != (step["constant"].size, sizes[source]):
                raise ValueError(f"a matrix of shape {matrix.shape}")
            if not np.isfinite(matrix).all() or not np.isfinite(step["constant"]).all():
                raise ValueError("numbers that are not finite")
            step["from"][source] = matrix
            step["absolute"][source] = step.pop(f"magnitude_{source}", np.abs(matrix))
        if "gradients" in step:
            # A number for every piece, in old files, or one for every piece and unit.
            pieces = step["gradients"].reshape(len(step["gradients"]), -1)
            step["gradients"] = np.broadcast_to(pieces, (len(pieces), step["constant"].size))
        steps.append(step)
        sizes.append(step["constant"].size)
        if str(step.get("kind")) == CURVED and str(step["name"]) not in NAMES:
            raise ValueError(f"an activation {step['name']}")
        if "kind" in step and str(step["kind"]) not in KINDS:
            raise ValueError(f"an activation {step['kind']}")
    if not steps or "kind" in steps[-1] or not all("kind" in step for step in steps[:-1]):
        raise ValueError("steps are missing")
    return steps


def samples(arrays: dict[str, Array]) -> Step:
    """What was claimed of each input, and what was executed."""
    rows = arrays["check_rows"]
    count = len(arrays["label"])
    if rows.dtype.kind not in "iu" or ((rows < 0) | (rows >= count)).any():
        raise ValueError(f"samples that are not among the {count}")
    if len(set(rows.tolist())) < len(rows):
        raise ValueError("a sample twice")
    found = {n: arrays[n][rows] for n in ("label", "certified", "margin", "lipschitz", "epsilon")}
    found["radius"] = arrays["radius"][rows] if "radius" in arrays else np.zeros(len(rows))
    found |= {"rows": rows, "x": arrays["check_x"], "all": arrays["certified"]}
    # What says nothing of itself is about what runs.
    told = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
    found["ideal"] = told.get("arithmetic") == "float64"
    for name in ("check_points", "check_executed"):
        found[name] = arrays.get(name)
        if found[name] is not None and len(found[name]) != len(rows):
            raise ValueError(f"{name} of {len(found[name])} samples")
    if len(found["x"]) != len(rows) or not (found["epsilon"] >= 0).all():
        raise ValueError("inputs, or their radii")
    return found


def activate(step: Step, z: Array) -> Array:
    """The activation's output, of one point or of several."""
    if step["kind"] == "clipped_relu":
        return np.minimum(np.maximum(z, 0), step["upper"])
    if step["kind"] == STRAIGHT:
        return step["at_zero"] + area(step, 0.0 * z, z)
    if step["kind"] == CURVED:
        return curve(step, z)[0]
    if step["kind"] == "sort":
        h = np.empty_like(z)
        h[..., step["groups"]] = np.sort(z[..., step["groups"]], axis=-1)
        return h
    if step["kind"] == "largest":
        h = np.zeros_like(z)
        h[..., step["places"]] = step["sign"] * (step["sign"] * z)[..., step["groups"]].max(axis=-1)
        return h
    p, q = step["pairs"]
    h = np.empty_like(z)
    h[..., p] = np.minimum(np.maximum(z[..., p], z[..., q]), step["upper"])
    h[..., q] = np.maximum(np.minimum(z[..., p], z[..., q]), step["lower"])
    return h


def area(step: Step, start: Array, end: Array) -> Array:
    """How much an activation of straight pieces grows between two points."""
    edges = [-np.inf, *step["kinks"], np.inf]
    total = np.zeros(np.broadcast(start, end).shape)
    for k, gradient in enumerate(step["gradients"]):
        total = total + gradient * (
            np.clip(end, edges[k], edges[k + 1]) - np.clip(start, edges[k], edges[k + 1])
        )
    return total


def straight(step: Step, z: Array, rho: Array) -> tuple[Array, Array]:
    """Smallest and largest mean slope between z and any point of its box."""
    slopes = [local(step, z, side) for side in (-1, 1)]
    ends = [(z - rho, rho > 0), (z + rho, rho > 0)]
    for point, there in ends + [(k, np.abs(k - z) < rho) for k in step["kinks"]]:
        there, so_far = there & (point != z), np.array(slopes[0])
        slopes.append(np.divide(area(step, z, point), point - z, so_far, where=there))
    return np.min(slopes, axis=0), np.max(slopes, axis=0)


def local(step: Step, z: Array, side: int) -> Array:
    """The slope beside z."""
    place = np.searchsorted(step["kinks"], z, side="right" if side > 0 else "left")
    return np.asarray(step["gradients"][place, np.arange(z.shape[-1])], dtype=float)


def curve(step: Step, z: Array) -> tuple[Array, Array]:
    """Value and slope of a curved activation."""
    s, name = 0.5 + 0.5 * np.tanh(0.5 * z), str(step["name"])
    soft, t = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))), np.tanh(z)
    if name in ("Tanh", "TanhShrink"):
        return (t, 1 - t**2) if name == "Tanh" else (z - t, t**2)
    if name == "Softsign":
        return z / (1 + np.abs(z)), (1 + np.abs(z)) ** -2.0
    if name == "Sigmoid":
        return s, s * (1 - s)
    if name in ("Softplus", "LogSigmoid"):
        return (soft, s) if name == "Softplus" else (z - soft, 1 - s)
    if name == "SiLU":
        return z * s, s + z * s * (1 - s)
    if name == "Mish":
        t = np.tanh(soft)
        return z * t, t + z * (1 - t**2) * s
    if name == "GELU":
        phi = 0.5 + 0.5 * erf(z / 2**0.5)
        return z * phi, phi + z * np.exp(-(z**2) / 2) / (2 * np.pi) ** 0.5
    if name == "ApproximateGELU":
        root = (2 / np.pi) ** 0.5
        t, inner = np.tanh(root * (z + 0.044715 * z**3)), root * (1 + 3 * 0.044715 * z**2)
        return z * (1 + t) / 2, (1 + t + z * (1 - t**2) * inner) / 2
    if name == "HardSiLU":
        inside = np.where(np.abs(z) <= 3, (2 * z + 3) / 6, z > 0)
        return z * np.clip(z + 3, 0, 6) / 6, inside
    if name == "SparsePlus":
        inside = np.clip((z + 1) / 2, 0, 1)
        return np.where(z < 1, inside**2, z), inside
    if name == "Squareplus":
        length = np.sqrt(z**2 + float(step["b"]))
        return (z + length) / 2, (1 + z / length) / 2
    alpha, scale, width = (float(step[n]) for n in ("alpha", "scale", "width"))
    e = np.exp(np.minimum(z, 0) / width)
    slope = np.where(z > 0, scale, scale * alpha / width * e)
    return scale * (np.maximum(z, 0) + alpha * (e - 1)), slope


def erf(z: Array) -> Array:
    """The error function, by 64 nodes of Gauss and Legendre; beyond 6 it is 1 in float64."""
    half = np.clip(z, -6.0, 6.0)[..., None] / 2
    nodes, weights = np.polynomial.legendre.leggauss(64)
    total = np.asarray(half * weights * np.exp(-((half * (1 + nodes)) ** 2))).sum(axis=-1)
    return np.asarray(2 / np.pi**0.5 * total)


def shape(step: Step) -> tuple[float, Array, list[float]]:
    """Of a curved activation the largest magnitude of its second derivative, and which way it bends between
    some points."""
    if str(step["name"]) == "HardSiLU":
        # Its corners are parts of their own.
        return 1 / 3, np.array([-np.inf, -3.0, -3.0, 3.0, 3.0, np.inf]), [0.0, -1.0, 1.0, -1.0, 0.0]
    if str(step["name"]) == "Squareplus":
        return 0.5 / float(step["b"]) ** 0.5, np.array([-np.inf, np.inf]), [1.0]
    if str(step["name"]) != "ELU":
        most, points, first = SHAPES[str(step["name"])]
        signs = [first * (-1) ** k for k in range(len(points) + 1)]
        return most, np.array([-np.inf, *points, np.inf]), signs
    alpha, scale, width = (float(step[n]) for n in ("alpha", "scale", "width"))
    bend = float(np.sign(scale - scale * alpha / width))
    # Its corner is a part of its own.
    edges = np.array([-np.inf, 0.0, 0.0, np.inf])
    return scale * abs(alpha) / width**2, edges, [float(np.sign(alpha)), bend, 0.0]


def curved(step: Step, z: Array, rho: Array) -> tuple[Array, Array]:
    """Smallest and largest mean slope of a curved activation between z and the points of its box.

    The box is cut into parts, at a corner of the function too; in each the slope is that in the middle, give
    or take what it can change on half of the way.
    """
    lows: list[Array] = []
    highs: list[Array] = []
    most, edges, _ = shape(step)
    corners = edges[1:][np.diff(edges) == 0]
    for side in (-1, 1):
        away = np.linspace(0, 1, PARTS + 1)[:, None] * rho
        cuts = np.clip(side * (corners[:, None] - z[None]), 0, rho[None])
        away = np.sort(np.concatenate([away, cuts]), axis=0)
        width = np.diff(away, axis=0)
        slopes = curve(step, z + side * (away[1:] + away[:-1]) / 2)[1]
        grown = side * (curve(step, z + side * away)[0] - curve(step, z)[0])
        for sign, found in ((-1, lows), (1, highs)):
            part = sign * slopes + most * width / 2
            with np.errstate(divide="ignore", invalid="ignore"):
                ends = (sign * grown[:-1] + part * width) / away[1:], sign * grown[1:] / away[1:]
            # Nothing is gained where the box is narrow, but rounding.
            mean = np.where(away[1:] > 1e-9 * (1 + np.abs(z)), np.maximum(*ends), part)
            found.append(sign * np.minimum(mean, part.max(axis=0)).max(axis=0))
    return np.minimum(*lows), np.maximum(*highs)


def affine(step: Step, h: list[Array]) -> Array:
    """A step before its activation."""
    return step["constant"] + sum(h[b] @ matrix.T for b, matrix in step["from"].items())


def logits(steps: list[Step], x: Array) -> Array:
    """The network's output."""
    h = [x]
    for step in steps[:-1]:
        h.append(activate(step, affine(step, h)))
    return affine(steps[-1], h)


def reach(beyond: Array, rho: Array) -> Array:
    """How much of a change rho is left by a clip that lies `beyond` away."""
    beyond = np.maximum(beyond, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rho <= beyond, 0.0, 1 - beyond / rho)


def weigh(step: Step, z: Array, rho: Array) -> Any:
    """Weights of rows and columns, and the range of slopes of an elementwise activation."""
    if step["kind"] == "clipped_relu":
        top = step["upper"]
        away = np.maximum(np.maximum(-z, z - top), 0)
        high = reach(away, np.minimum(rho, top + away)) * (rho > away) * (top > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            low = np.where((z > 0) & (z < top), np.minimum(1, np.minimum(z, top - z) / rho), 0)
        return high, (high > 0) * 1.0, np.where(high > 0, np.clip(low, 0, 1), 0), high
    if step["kind"] == STRAIGHT:
        low, high = straight(step, z, rho)
        most = np.maximum(np.abs(low), np.abs(high))
        return most, (most > 0) * 1.0, low, high
    if step["kind"] == CURVED:
        low, high = curved(step, z, rho)
        return np.maximum(np.abs(low), np.abs(high)), np.ones_like(z), low, high
    if step["kind"] == "sort":
        return np.ones_like(z), np.ones_like(z), None, None
    if step["kind"] == "largest":
        groups, z = step["groups"], step["sign"] * z
        rows, columns = np.zeros_like(z), np.zeros_like(z)
        winner = np.take_along_axis(groups, z[groups].argmax(axis=1)[:, None], 1)
        rows[groups[z[winner] - z[groups] <= rho[winner] + rho[groups]]] = 1.0
        columns[step["places"]] = (rows[groups] * rho[groups]).sum(axis=1) > 0
        return rows, columns, None, None
    p, q = step["pairs"]
    first, second = z[p] - rho[p] >= z[q] + rho[q], z[q] - rho[q] >= z[p] + rho[p]
    both, certain = np.maximum(rho[p], rho[q]), first | second
    of_max = np.where(first, rho[p], np.where(second, rho[q], both))
    of_min = np.where(first, rho[q], np.where(second, rho[p], both))
    large = reach(np.maximum(z[p], z[q]) - step["upper"], of_max)
    small = reach(step["lower"] - np.minimum(z[p], z[q]), of_min)
    pair = np.maximum(large, small)
    rows, columns = np.empty_like(z), np.empty_like(z)
    rows[p] = np.where(first, large, np.where(second, small, pair))
    rows[q] = np.where(first, small, np.where(second, large, pair))
    for place, part in ((p, large), (q, small)):
        mixed = np.divide(part, pair, np.zeros_like(part), where=pair > 0)
        columns[place] = np.where(certain, (part > 0) * 1.0, mixed)
    return rows, columns, None, None


def bound(
    steps: list[Step],
    x: Array,
    label: int,
    epsilon: float,
    share: float = 1.0,
    narrow: bool = False,
) -> tuple[float, float]:
    """Smallest margin over the other classes, by forward and backward pass, and the Lipschitz bound.

    With slopes fixed at epsilon the bound is proportional to the distance: the margin is that at `share` of
    epsilon, which a larger epsilon sometimes shows better. `narrow` boxes are backward passes themselves.
    """
    h, balls = [x], [{"behind": epsilon, "columns": np.ones_like(x), "low": None}]
    for step in steps[:-1]:
        z, parts = affine(step, h), step["from"].items()
        rho = np.asarray(sum(moved(balls[b], m) for b, m in parts))
        rows, columns, low, high = weigh(step, z, rho)
        nearer: dict[tuple[int, int], Array] = {}
        if narrow and len(balls) > 1:
            rho, nearer = narrowed(
                step, balls, rho, np.ones_like(rho) if low is None else high - low
            )
            rows, columns, low, high = weigh(step, z, rho)
        ball = {"step": step, "z": z, "rho": rho, "columns": columns, "low": low, "high": high}
        ball["rows"], ball["nearer"] = rows, nearer
        ball["before"], ball["behind"] = (
            together(
                step,
                [
                    np.linalg.norm(weights[:, None] * m * balls[b]["columns"], 2)
                    * balls[b]["behind"]
                    for b, m in parts
                ],
            )
            for weights in ((rows > 0) * 1.0, rows)
        )
        h.append(activate(step, z))
        balls.append(ball)
    last, out = steps[-1]["from"], affine(steps[-1], h)
    total = sum(
        np.linalg.norm(m * balls[b]["columns"], 2) * balls[b]["behind"] for b, m in last.items()
    )
    margins, noise = [], FINER * allowance(steps, x[None])[0]
    for j in range(len(out)):
        if j != label:
            front = {b: m[label] - m[j] for b, m in last.items()}
            # What holds at epsilon alone does not scale.
            inside = sum(boxed(balls[b], c) for b, c in front.items()) if share == 1.0 else np.inf
            closes = share * backward(dict(front), balls)
            closes = (1 + LOST) * min(closes, inside) + noise[label] + noise[j]
            margins.append(out[label] - out[j] - closes)
    # NaN confirms nothing: the smallest of Python's may leave it out.
    return float(np.min(margins)), total / epsilon if epsilon else 0.0


def moved(ball: Step, matrix: Array) -> Array:
    """How far a ball can move each row of a matrix: of two ways to see the ball the better one."""
    most = ball["behind"] * np.linalg.norm(matrix * ball["columns"], axis=1)
    if ball["low"] is not None:
        most = np.minimum(most, ball["before"] * np.linalg.norm(matrix * ball["rows"], axis=1))
    return most


def boxed(ball: Step, c: Array) -> Any:
    """How far changes in ball and box at once lower a product with c, by weak duality."""
    best, r = moved(ball, c[None])[0], ball["behind"]
    if str(ball.get("step", {}).get("kind")) not in ("clipped_relu", "maxmin") or not r > 0:
        return best
    at, low, high = (activate(ball["step"], ball["z"] + s * ball["rho"]) for s in (0, -1, 1))
    multiplier = np.linalg.norm(c) / r
    for _ in range(10):
        d = np.clip(-c / multiplier, low - at, high - at) if multiplier > 0 else 0 * c
        best = min(best, multiplier * r**2 / 2 - np.sum(c * d + multiplier * d**2 / 2))
        multiplier *= min(1.0, np.linalg.norm(d) / r)
    return best


def narrowed(step: Step, balls: list[Step], rho: Array, left: Array) -> tuple[Array, Any]:
    """Boxes, and how far pairs of columns move apart, by the backward pass, where something is left open."""

    def extent(first: int, second: int | None = None) -> Any:
        c = {b: m[first] - (0.0 if second is None else m[second]) for b, m in step["from"].items()}
        both = [backward({b: sign * row for b, row in c.items()}, balls) for sign in (1, -1)]
        return np.max(both)  # NaN if one is

    found = [min(r, extent(k)) if left[k] > 0 else r for k, r in enumerate(rho)]
    if step["kind"] not in ("maxmin", "sort", "largest"):
        return np.array(found), {}
    groups, _ = comparisons(step)
    columns = range(groups.shape[1])
    return np.array(found), {
        (i, j): np.array([extent(*pair) for pair in groups[:, [i, j]]])
        for j in columns
        for i in range(j)
    }


def together(step: Step, lengths: list[Any]) -> Any:
    """The length of a sum of vectors, which are perpendicular if no two share an entry."""
    used = sum(np.any(m != 0, axis=1) * 1 for m in step["from"].values())
    return np.linalg.norm(lengths) if np.max(used) <= 1 else sum(lengths)


def backward(front: dict[int, Array], balls: list[Step]) -> Any:
    """How far the balls close one gap: the best layer to stop at."""

    def stop() -> Any:
        return sum(moved(balls[b], c[None])[0] for b, c in front.items())

    rest, best = 0.0, stop()
    while passable := [b for b in front if b > 0]:
        c, ball = front.pop(max(passable)), balls[max(passable)]
        if ball["low"] is None:
            ahead, lost = sorted_back(ball, balls, c)
        else:
            z, rho, low, high = (ball[name] for name in ("z", "rho", "low", "high"))
            slope, open_part = tangent(ball["step"], z, rho, c, low, high)
            scaled = np.divide(open_part, ball["rows"], np.zeros_like(c), where=open_part > 0)
            ahead, lost = (
                c * slope,
                min(
                    np.linalg.norm(scaled) * ball["behind"],
                    np.linalg.norm(open_part) * ball["before"],
                    np.sum(open_part * rho),
                ),
            )
        rest += lost
        for source, matrix in ball["step"]["from"].items():
            front[source] = front.get(source, 0.0) + matrix.T @ ahead
        best = min(best, rest + stop())
    return best


def comparisons(step: Step) -> tuple[Array, list[tuple[int, int]]]:
    """Groups of entries, and the pairs of their columns that are compared: the larger one goes first."""
    if step["kind"] == "maxmin":
        return step["pairs"].T, [(0, 1)]
    groups = step["groups"]
    size = groups.shape[1]
    if step["kind"] == "sort":
        return groups, [(k + 1, k) for end in range(size - 1, 0, -1) for k in range(end)]
    # A tournament, whose winner comes first.
    steps = [2**k for k in range((size - 1).bit_length())]
    pairs = [(k, k + far) for far in steps for k in range(0, size - far, 2 * far)]
    return groups, pairs if step["sign"] > 0 else [(j, i) for i, j in pairs]


def sorted_back(ball: Step, balls: list[Step], c: Array) -> tuple[Array, Any]:
    """Coefficients before an activation that compares entries, and what it leaves open.

    Of p and q the larger is (p + q) / 2 + |p - q| / 2, the smaller one (p + q) / 2 - |p - q| / 2.
    """
    step = ball["step"]
    groups, pairs = comparisons(step)
    columns = range(groups.shape[1])
    v = [ball["z"][groups[:, k]] for k in columns]
    for k in columns:
        # Padding stands for an entry once more, which never wins.
        again = (groups[:, :k] == groups[:, [k]]).any(axis=1)
        v[k] = np.where(again, -FAR * float(step.get("sign", 1.0)), v[k])
    # How far two columns move apart, and, for one of them alone, how far it moves.
    wide = {
        (i, j): np.minimum(
            sum(
                moved(balls[b], m[groups[:, i]] - m[groups[:, j]]) for b, m in step["from"].items()
            ),
            ball["nearer"].get((i, j), np.inf),
        )
        for j in columns
        for i in range(j)
    } | {(-1, k): ball["rho"][groups[:, k]] for k in columns}
    done = []
    for i, j in pairs:
        d, width = v[i] - v[j], wide[min(i, j), max(i, j)]
        first, second = d >= width, -d >= width
        done.append((i, j, d, width, first, second))
        v[i], v[j] = np.maximum(v[i], v[j]), np.minimum(v[i], v[j])
        for k in (-1, *columns):
            if k not in (i, j):
                one, two = ((min(k, end), max(k, end)) for end in (i, j))
                a, b, most = wide[one], wide[two], np.maximum(wide[one], wide[two])
                wide[one] = np.where(first, a, np.where(second, b, most))
                wide[two] = np.where(first, b, np.where(second, a, most))
    ahead = [c[groups[:, k]] for k in columns]
    if step["kind"] == "largest":
        ahead = [c[step["places"]] * (k == 0) for k in columns]
    least, rest = ball["rows"][groups].min(axis=1), 0.0
    lengths = [
        np.linalg.norm(m * balls[b]["columns"], 2) * balls[b]["behind"]
        for b, m in step["from"].items()
    ]

    def leave(weight: Array, width: Array, stretch: float) -> Any:
        scaled = np.divide(weight, least, np.where(weight > 0, np.inf, 0.0), where=least > 0)
        return min(
            stretch * np.linalg.norm(scaled) * ball["behind"],
            stretch * np.linalg.norm(weight) * together(step, lengths),
            np.sum(weight * width),
        )

    if step["kind"] == "maxmin":
        for k, clip, slopes in ((0, step["upper"], (1, 0)), (1, step["lower"], (0, 1))):
            slope, weight = kinked(v[k] - np.clip(clip, -FAR, FAR), wide[-1, k], slopes, ahead[k])
            ahead[k], rest = ahead[k] * slope, rest + leave(weight, wide[-1, k], 1.0)
    for i, j, d, width, first, second in reversed(done):
        half, same = (ahead[i] - ahead[j]) / 2, (ahead[i] + ahead[j]) / 2
        slope, weight = kinked(d, width, (-1, 1), half)
        rest = rest + leave(weight, width, 2**0.5)
        ahead[i], ahead[j] = (
            np.where(first, ahead[a], np.where(second, ahead[b], same + sign * half * slope))
            for a, b, sign in ((i, j, 1), (j, i, -1))
        )
    before = np.zeros_like(c)
    for k in columns:
        np.add.at(before, groups[:, k], ahead[k])
    return before, rest


def kinked(t: Array, width: Array, slopes: tuple[int, int], c: Array) -> tuple[Array, Array]:
    """Slope below c times a function with a kink at 0, seen from t, and what it leaves open of c."""
    below, above = slopes
    near, far = np.where(t > 0, above, below), np.where(t > 0, below, above)
    share = np.divide(np.abs(t), width, np.ones_like(t), where=width > np.abs(t))
    mean = share * near + (1 - share) * far
    fits = (c > 0) if above > below else (c < 0)
    slope, rest = (
        np.where(fits, near, (near + mean) / 2),
        np.where(fits, 0, np.abs(near - mean) / 2),
    )
    return slope, np.abs(c) * rest


def tangent(
    step: Step, z: Array, rho: Array, c: Array, low: Array, high: Array
) -> tuple[Array, Array]:
    """A slope that bounds c times an activation from below, and what it leaves open."""
    slope, rest = (low + high) / 2, (high - low) / 2
    if step["kind"] == STRAIGHT:
        bends = np.diff(step["gradients"], axis=0) * (
            np.abs(step["kinks"][:, None] - z[None]) < rho[None]
        )
        fits = ((bends >= 0).all(axis=0) & (c > 0)) | ((bends <= 0).all(axis=0) & (c < 0))
        return np.where(fits, local(step, z, 1), slope), np.abs(c) * np.where(fits, 0, rest)
    if step["kind"] == CURVED:
        _, edges, signs = shape(step)
        meets = (edges[:-1, None] < z + rho) & (edges[1:, None] > z - rho)
        bends = np.array(signs)[:, None] * meets
        fits = ((bends >= 0).all(axis=0) & (c > 0)) | ((bends <= 0).all(axis=0) & (c < 0))
        return np.where(fits, curve(step, z)[1], slope), np.abs(c) * np.where(fits, 0, rest)
    top = step["upper"]
    zero = (z - rho < 0) & (z + rho > 0)
    clip = (z - rho < top) & (z + rho > top)
    convex, concave = zero & ~clip & (c > 0) & (high > 0), clip & ~zero & (c < 0) & (high > 0)
    slope = np.where(convex, z > 0, np.where(concave, z < top, slope))
    return slope, np.abs(c) * np.where(convex | concave, 0, rest)


def slope(step: Step, z: Array, g: Array) -> Array:
    """The gradient before an activation from that behind it."""
    if step["kind"] == STRAIGHT:
        return g * local(step, z, 1)
    if step["kind"] == CURVED:
        return g * curve(step, z)[1]
    if step["kind"] == "clipped_relu":
        return g * ((z > 0) & (z < step["upper"]))
    if step["kind"] == "sort":
        back, groups = np.empty_like(g), step["groups"]
        places = np.argsort(np.argsort(z[..., groups], axis=-1), axis=-1)
        back[..., groups] = np.take_along_axis(g[..., groups], places, axis=-1)
        return back
    if step["kind"] == "largest":
        groups, before = step["groups"], np.zeros_like(g)
        taken = (step["sign"] * z[..., groups]).argmax(axis=-1)[..., None]
        winner = np.take_along_axis(
            np.broadcast_to(groups, (*z.shape[:-1], *groups.shape)), taken, -1
        )
        np.put_along_axis(before, winner[..., 0], g[..., step["places"]], -1)
        return before
    p, q = step["pairs"]
    large = g[..., p] * (np.maximum(z[..., p], z[..., q]) < step["upper"])
    small = g[..., q] * (np.minimum(z[..., p], z[..., q]) > step["lower"])
    before, first = np.empty_like(g), z[..., p] >= z[..., q]
    before[..., p], before[..., q] = np.where(first, large, small), np.where(first, small, large)
    return before


def gradient(steps: list[Step], x: Array, c: Array) -> Array:
    """Gradient of `c . logits` at several points."""
    h, inputs = [x], []
    for step in steps[:-1]:
        inputs.append(affine(step, h))
        h.append(activate(step, inputs[-1]))
    back: dict[int, Array] = {}
    for k in range(len(steps) - 1, -1, -1):
        g = c if k == len(steps) - 1 else back.pop(k + 1, None)
        if g is None:
            continue
        g = g if k == len(steps) - 1 else slope(steps[k], inputs[k], g)
        for b, matrix in steps[k]["from"].items():
            back[b] = back.get(b, 0.0) + g @ matrix
    return back.get(0, np.zeros_like(x))


def search(
    steps: list[Step], x: Array, label: int, distance: float, count: int, draw: Any
) -> Array:
    """Points of a ball: random ones of its sphere, and for every other class one driven towards it."""
    randoms = draw.standard_normal((count, x.size))
    randoms *= distance / np.linalg.norm(randoms, axis=1, keepdims=True)
    others = np.delete(np.arange(len(steps[-1]["constant"])), label)
    c = np.eye(len(others) + 1)[others]
    c[:, label] = -1.0
    d = draw.standard_normal((len(others), x.size))
    d *= 0.01 * distance / np.linalg.norm(d, axis=1, keepdims=True)
    for step in range(STEPS):
        g = gradient(steps, x + d, c)
        length = np.linalg.norm(g, axis=1, keepdims=True)
        d = d + 2 * distance * (1 - step / STEPS) * np.divide(
            g, length, np.zeros_like(g), where=length > 0
        )
        d *= np.minimum(
            1.0, distance / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-300)
        )
    return x + np.concatenate([randoms, d]) * (1 - NOISE)


def allowance(steps: list[Step], x: Array) -> Array:
    """How far logits executed in float32 may be from these, at several points: a bound of its own.

    Whatever the order of its sums, a step errs by `n u` times the magnitudes that it adds up; what came with
    its inputs is passed on by row norms and singular values.
    """
    h, reach = [x], [np.zeros(len(x))]
    for step in steps:
        z, parts = affine(step, h), step["from"].items()
        lost = relative(step)
        size = step.get("magnitude", np.abs(step["constant"])) + sum(
            np.abs(h[b]) @ step["absolute"][b].T for b in step["from"]
        )
        tiny = (
            SMALLEST
            * (1 / UNIT)
            * lost
            * (1 + sum(a.sum(axis=1) for a in step["absolute"].values()))
        )
        own = lost * size + tiny
        box = own + sum(
            reach[b][:, None] * (rows(m) + lost * rows(step["absolute"][b])) for b, m in parts
        )
        h.append(activate(step, z) if "kind" in step else z)
        moved = sum(
            reach[b] * (top(step, b) + lost * np.linalg.norm(step["absolute"][b])) for b, _ in parts
        )
        reach.append(passed(step, z, h[-1], np.linalg.norm(own, axis=1) + moved))
    return 1.01 * box


def passed(step: Step, z: Array, h: Array, reach: Array) -> Array:
    """How far off an activation may be whose input is off by so much."""
    if step.get("kind") not in (STRAIGHT, CURVED):
        return reach
    if step["kind"] == CURVED:
        most, count, offset = (float(step[name]) for name in ("most", "roundings", "offset"))
    else:
        most, count, offset = np.abs(step["gradients"]).max(), PIECES, 0.0
    own = count * (UNIT * (offset + np.abs(h) + most * np.abs(z)) + SMALLEST * (1 + most))
    return 1.01 * most * reach + 1.01 * np.linalg.norm(own, axis=1)


def relative(step: Step) -> float:
    """`n u / (1 - n u)` for the number of roundings that a sum of the step passes through."""
    terms = float(step.get("terms", 0)) or sum(m.shape[1] for m in step["from"].values()) + 64.0
    return terms * UNIT / (1 - terms * UNIT) if terms * UNIT < 0.5 else np.inf


def rows(matrix: Array) -> Array:
    """Norms of the rows."""
    return np.linalg.norm(matrix, axis=1)


def top(step: Step, source: int) -> float:
    """The largest singular value of a matrix, found once."""
    known = step.setdefault("top", {})
    if source not in known:
        known[source] = float(np.linalg.norm(step["from"][source], 2))
    return known[source]


def execution(steps: list[Step], claims: Step, i: int) -> tuple[str, str, float]:
    """What contradicts the logits that were executed of a sample, if anything; what cannot be said of them;
    and the largest share of the allowance that they take."""
    points, executed = (
        claims[name][i].astype("float64") for name in ("check_points", "check_executed")
    )
    exact, allowed = logits(steps, points), allowance(steps, points)
    off = np.abs(executed - exact)
    if not (off <= allowed).all():
        k = int(np.argmin((off <= allowed).all(axis=1)))
        return (
            (
                f"executed logits are {off[k].max():.3g} away from those of the network that was certified, "
                f"where float32 allows {allowed[k].max():.3g}: another network runs"
            ),
            "",
            np.inf,
        )
    if not np.isfinite(allowed).all():
        return "", "the execution: here float32 may round without end", 0.0
    against = "" if claims["ideal"] else executed_claims(claims, i, points, executed)
    return against, "", float((off / allowed).max())


def executed_claims(claims: Step, i: int, points: Array, executed: Array) -> str:
    """What executed logits themselves say against claims about the execution, if anything."""
    label, certified = int(claims["label"][i]), bool(claims["certified"][i])
    apart = np.linalg.norm(points - claims["x"][i], axis=1)
    # The first point is the input as it runs.
    apart[0] = 0.0
    near = apart <= (claims["epsilon"][i] if certified else -1.0)
    gaps = (executed[:, [label]] - np.delete(executed, label, axis=1)).min(axis=1)
    if not (gaps[near | (apart <= claims["radius"][i])] > 0).all():
        return "executed logits have another label, or a tie, within what is certified"
    if (gaps[near] < claims["margin"][i]).any():
        return f"an executed margin of {gaps[near].min():.3g}, where {claims['margin'][i]:.3g} is claimed"
    return ""


def contradiction(steps: list[Step], claims: Step, i: int, count: int, draw: Any) -> str:
    """What a search finds against the claims of a sample, if anything."""
    x, label, epsilon = claims["x"][i], int(claims["label"][i]), float(claims["epsilon"][i])
    balls = [
        (INSIDE * min(claims["radius"][i], FAR**0.25), "its certified radius", -np.inf, np.inf)
    ]
    if claims["certified"][i]:
        balls.append((epsilon, "epsilon", claims["margin"][i], claims["lipschitz"][i]))
    for distance, name, margin, lipschitz in balls:
        if not distance > 0 and name != "epsilon":
            continue
        clean = logits(steps, x)
        points = search(steps, x, label, distance, count, draw)
        found = logits(steps, np.concatenate([x[None], points]))
        noise = NOISE * (1 + np.abs(found).max())
        gaps = found[:, [label]] - np.delete(found, label, axis=1)
        if not gaps.min() >= -noise:
            return f"another label within {name}"
        if gaps.min() < margin - noise:
            return f"a margin of {gaps.min():.3g}, where {margin:.3g} is claimed"
        apart = np.linalg.norm(points - x, axis=1)
        moved = np.linalg.norm(found[1:] - clean, axis=1)
        if (moved > lipschitz * apart * (1 + 1e-9) + noise).any():
            return "logits move faster than the Lipschitz bound"
    return ""


def largest_margin(steps: list[Step], x: Array, label: int, distance: float) -> float:
    """The margin at a distance: positive if a bound confirms it."""
    best = -np.inf
    # Narrow boxes take a backward pass for every unit.
    tries = [(factor, False) for factor in FACTORS] + [(factor, True) for factor in FACTORS[:2]]
    for factor, narrow in tries:
        best = max(best, bound(steps, x, label, factor * distance, 1 / factor, narrow)[0])
        if best > 0:
            break
    return best


def open_claims(steps: list[Step], claims: Step, i: int) -> list[str]:
    """What the bounds cannot confirm of a sample."""
    x, label = claims["x"][i], int(claims["label"][i])
    radius, epsilon = min(float(claims["radius"][i]), FAR), float(claims["epsilon"][i])
    missing, reached = [], -1.0
    if radius > 0:
        margin = largest_margin(steps, x, label, radius)
        reached = radius if margin > 0 else reached
        if not margin > 0:
            missing.append(f"radius {radius:.3g}: margin {margin:.3g} here")
    if claims["certified"][i] and not epsilon <= reached:
        margin = largest_margin(steps, x, label, epsilon)
        if not margin > 0:
            there = f"{claims['margin'][i]:.3g} there"
            missing.append(f"epsilon {epsilon:.3g}: margin {margin:.3g} here, {there}")
    return missing


def progress(done: int, of: int) -> None:
    """Says on a terminal which sample is looked at; a line of results takes the place of it."""
    if sys.stderr.isatty():
        words = f"sample {done + 1} of {of} ..." if done < of else ""
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)


def check(
    steps: list[Step], claims: Step, count: int, limit: int | None = None
) -> tuple[int, int, int]:
    """Prints a line for each sample that is not confirmed, and what was confirmed; counts of all three."""
    draw = np.random.default_rng()
    executed = claims["check_executed"] is not None and claims["check_points"] is not None
    confirmed = unsure = wrong = balls = radii = 0
    share = 0.0
    claimed = np.flatnonzero(claims["certified"] | (claims["radius"] > 0))[:limit]
    for done, (i, row) in enumerate(zip(claimed, claims["rows"][claimed], strict=True)):
        progress(done, len(claimed))
        against, unknown, used = execution(steps, claims, i) if executed else ("", "", 0.0)
        share = max(share, used)
        against = against or contradiction(steps, claims, i, count, draw)
        missing = [] if against else [*open_claims(steps, claims, i), *filter(None, [unknown])]
        progress(len(claimed), len(claimed))
        if against:
            wrong += 1
            print(f"sample {row}: CONTRADICTED: {against}")
        elif missing:
            unsure += 1
            print(f"sample {row}: not confirmed at {'; '.join(missing)}")
        else:
            confirmed += 1
            balls += bool(claims["certified"][i])
            radii += bool(claims["radius"][i] > 0)
    print(
        f"Of {int(claims['all'].sum())} certified samples {int(claims['certified'].sum())} are in the file. "
        f"Confirmed for the ideal network: the label in {balls} balls of epsilon, {radii} certified radii."
    )
    if executed:
        print(
            f"The backend's logits at {claims['check_points'].shape[1]} points of each agree with it"
            f"{' elsewhere' if wrong else ''}: off by at most {share:.2g} of what float32 may round."
            if np.isfinite(share)
            else "The backend's logits do not agree with it: what runs is not what was certified."
        )
    else:
        print("The execution was not checked: the file holds no executed logits; save it again.")
    print(f"{confirmed} confirmed, {unsure} not confirmed, {wrong} contradicted")
    return confirmed, unsure, wrong


class Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str) -> Any:
        self.exit(2, f"error: {message}\n")


def at_least_one(text: str) -> int:
    """A count from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1. Received: {text}")
    return int(text)


def main() -> None:
    """Checks the samples in a file; ends with the status that the module's first lines explain."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="certificates saved with model and x")
    parser.add_argument(
        "--points", type=at_least_one, default=200, help="random points of every ball"
    )
    parser.add_argument("--limit", type=at_least_one, help="only the first so many samples")
    parser.add_argument("--strict", action="store_true", help="fail if anything is not confirmed")
    options = parser.parse_args()
    try:
        steps, claims = read(options.file)
    except Unreadable as error:
        parser.error(f"{options.file} cannot be checked: {error}")
    confirmed, unsure, wrong = check(steps, claims, options.points, options.limit)
    left = ((claims["certified"] | (claims["radius"] > 0)).sum()) - confirmed - unsure - wrong
    if left:
        print(f"{left} not looked at, because of --limit {options.limit}")
    open_ = unsure or left or claims["check_executed"] is None or claims["check_points"] is None
    sys.exit(1 if wrong or not confirmed or (options.strict and open_) else 0)


if __name__ == "__main__":
    main()
