"""An independent check of saved certificates: plain NumPy, float64, dense singular values.

    python -m keraslip.certify.check certificates.npz

It shares no code with the certifier. It computes the network, the local Lipschitz bound and the composite
bound again, sample by sample, for the ideal network, and tries random directions in every ball. A certified
sample that it cannot confirm is reported; one that it contradicts makes it fail.
"""

import argparse
import sys
from typing import Any

import numpy as np

Array = np.ndarray
#: One step of the network: its matrices by source under "from", its constant, its activation.
Step = dict[str, Any]


def read(path: str) -> tuple[list[Step], Array, Array, Step]:
    """The network as a list of steps, the inputs, and what was claimed of them."""
    file = np.load(path, allow_pickle=False)
    if "check_rows" not in file:
        sys.exit(
            f"{path} holds no network: save it with certificates.save(path, model=model, x=x)."
        )
    steps, k = [], 1
    while f"check_{k}_constant" in file:
        prefix = f"check_{k}_"
        step = {n.removeprefix(prefix): file[n] for n in file.files if n.startswith(prefix)}
        matrices = [name for name in step if name.startswith("matrix_")]
        step["from"] = {int(name.rsplit("_", 1)[1]): step.pop(name) for name in matrices}
        steps.append(step)
        k += 1
    rows = file["check_rows"]
    claims = {n: file[n][rows] for n in ("label", "certified", "margin", "lipschitz", "epsilon")}
    return steps, rows, file["check_x"], claims


def activate(step: Step, z: Array) -> Array:
    """The activation's output."""
    if step["kind"] == "clipped_relu":
        return np.minimum(np.maximum(z, 0), step["upper"])
    p, q = step["pairs"]
    h = np.empty_like(z)
    h[p] = np.minimum(np.maximum(z[p], z[q]), step["upper"])
    h[q] = np.maximum(np.minimum(z[p], z[q]), step["lower"])
    return h


def affine(step: Step, h: list[Array]) -> Array:
    """A step before its activation."""
    return step["constant"] + sum(matrix @ h[b] for b, matrix in step["from"].items())


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


def bound(steps: list[Step], x: Array, label: int, epsilon: float) -> tuple[float, float]:
    """Smallest margin over the other classes, by forward and backward pass, and the Lipschitz bound."""
    h, radius, weight = [x], [epsilon], [np.ones_like(x)]
    kept: list[Any] = [None]

    def norm_of(parts: Any, rows: Array) -> Any:
        """Radius of the change before an activation, rows weighed."""
        each = (np.linalg.norm(rows[:, None] * m * weight[b], 2) * radius[b] for b, m in parts)
        return sum(each)

    for step in steps[:-1]:
        z = affine(step, h)
        parts = step["from"].items()
        rho = sum(radius[b] * np.linalg.norm(m * weight[b], axis=1) for b, m in parts)
        rows, columns, low, high = weigh(step, z, rho)
        before = norm_of(parts, (rows > 0) * 1.0)
        behind = norm_of(parts, rows)
        h.append(activate(step, z))
        kept.append((step, z, rho, low, high, before))
        radius.append(behind)
        weight.append(columns)
    last = steps[-1]["from"]
    out = affine(steps[-1], h)
    total = sum(np.linalg.norm(m * weight[b], 2) * radius[b] for b, m in last.items())
    margins = []
    for j in range(len(out)):
        if j != label:
            front = {b: m[label] - m[j] for b, m in last.items()}
            margins.append(out[label] - out[j] - backward(front, radius, weight, kept))
    return min(margins), total / epsilon if epsilon else 0.0


def backward(
    front: dict[int, Array], radius: list[Any], weight: list[Array], kept: list[Any]
) -> Any:
    """How far the ball closes one gap: the best layer to stop at."""

    def stop() -> Any:
        total = 0.0
        for b, c in front.items():
            line = np.linalg.norm(c * weight[b]) * radius[b]
            if b and kept[b][4] is not None:
                line = min(line, np.linalg.norm(c * kept[b][4]) * kept[b][5])
            total += line
        return total

    rest, best = 0.0, stop()
    while max(front) > 0 and kept[max(front)][3] is not None:
        b = max(front)
        c = front.pop(b)
        step, z, rho, low, high, before = kept[b]
        slope, open_part = (low + high) / 2, (high - low) / 2
        zero = (z - rho < 0) & (z + rho > 0)
        top = (z - rho < step["upper"]) & (z + rho > step["upper"])
        convex, concave = zero & ~top & (c > 0) & (high > 0), top & ~zero & (c < 0) & (high > 0)
        slope = np.where(convex, z > 0, np.where(concave, z < step["upper"], slope))
        open_part = np.abs(c) * np.where(convex | concave, 0, open_part)
        scaled = np.divide(open_part, high, np.zeros_like(c), where=open_part > 0)
        rest += min(
            np.linalg.norm(scaled) * radius[b],
            np.linalg.norm(open_part) * before,
            np.sum(open_part * rho),
        )
        for source, matrix in step["from"].items():
            front[source] = front.get(source, 0.0) + matrix.T @ (c * slope)
        best = min(best, rest + stop())
    return best


def main() -> None:
    """Checks the samples in a file and prints one line for each that is not confirmed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="certificates saved with model and x")
    parser.add_argument("--points", type=int, default=200, help="random points in every ball")
    options = parser.parse_args()
    steps, rows, inputs, claims = read(options.file)
    draw = np.random.default_rng(0)
    confirmed = open_claims = wrong = 0
    for i, x in enumerate(inputs):
        if not claims["certified"][i]:
            continue
        label, epsilon = claims["label"][i], claims["epsilon"][i]
        clean = logits(steps, x)
        steep = 0.0
        broken = clean.argmax() != label
        for _ in range(options.points):
            d = draw.standard_normal(x.size)
            d *= epsilon / np.linalg.norm(d)
            moved = logits(steps, x + d)
            broken = broken or moved.argmax() != label
            steep = max(steep, np.linalg.norm(moved - clean) / epsilon if epsilon else 0.0)
        margin, lipschitz = bound(steps, x, label, epsilon)
        if broken or steep > claims["lipschitz"][i] * (1 + 1e-9):
            wrong += 1
            print(f"sample {rows[i]}: CONTRADICTED")
        elif margin > 0:
            confirmed += 1
        else:
            open_claims += 1
            print(
                f"sample {rows[i]}: not confirmed, margin {margin:.3g} here, {claims['margin'][i]:.3g} there"
            )
    print(f"{confirmed} confirmed, {open_claims} not confirmed, {wrong} contradicted")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
