"""Cost of certification: images per second of each guarantee and stage, against power iteration.

    python benchmarks/certification.py runs/mnist/best.keras --dataset mnist --limit 200
    python benchmarks/certification.py                       # the digits network, untrained

Norms that are taken once for a model are timed apart. The comparison is the obvious alternative: 2000
masked power iterations for every sample and layer, which still prove nothing.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keraslip
from keraslip import applications, datasets
from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.bound.norm_sources import LocalNorms, global_norms, proved
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.norms.rounding import Execution

Row = dict[str, Any]


def timed(name: str, samples: int, work: Callable[[], float]) -> Row:
    """Runs something once that returns a certified accuracy."""
    start = time.perf_counter()
    accuracy = work()
    seconds = time.perf_counter() - start
    rate = samples / seconds
    return {"name": name, "samples": samples, "certified": accuracy, "per_second": rate}


def stages(model: Any, x: np.ndarray, y: np.ndarray, epsilon: float, hard: int) -> list[Row]:
    """Each stage of the cascade on all samples, though the cascade spares most of them the expensive ones."""
    network, _ = network_of(model)
    evaluate = Evaluator(network, Execution.of("float32"))
    dense, conv = LocalNorms(False, proved), LocalNorms(True, proved)

    def stage(norms: Any, backwards: bool, n: int) -> Callable[[], float]:
        radii = np.full(n, epsilon)
        return lambda: float(
            np.mean(evaluate(x[:n], y[:n], radii, norms, backwards).margins.least > 0)
        )

    n = len(x)
    return [
        timed("stage: global norms", n, stage(global_norms, False, n)),
        timed("stage: global norms, composite", n, stage(global_norms, True, n)),
        timed("stage: dense norms, composite", n, stage(dense, True, n)),
        timed("stage: all local norms, composite", hard, stage(conv, True, hard)),
    ]


def levels(model: Any, x: np.ndarray, y: np.ndarray, epsilon: float) -> list[Row]:
    """The whole cascade at each level."""
    options: dict[str, dict[str, Any]] = {
        "certify: proved, float32": {},
        "certify: proved, float64": {"arithmetic": "float64"},
        "certify: frozen": {"effort": "frozen"},
        "certify: proved, with radius": {"radius": True},
        "certify: probabilistic": {"guarantee": "probabilistic"},
    }

    def work(**kwargs: Any) -> float:
        found = model.certify(x, y, epsilon=epsilon, verbose=False, **kwargs)
        return found.certified_accuracy(y)

    work(effort="full")  # compiles the attack
    return [timed(name, len(x), lambda o=o: work(**o)) for name, o in options.items()]


def power_iteration(
    model: Any, x: np.ndarray, y: np.ndarray, epsilon: float, iterations: int
) -> Row:
    """Masked power iterations in float32 for every sample and layer."""

    def work() -> float:
        found = model.estimate(
            x, y, epsilon=epsilon, power_iterations=iterations, batch_size=len(x)
        )
        return found.certified_accuracy

    return timed(f"{iterations} power iterations (no proof)", len(x), work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a .keras file")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--limit", type=int, default=200, help="validation images")
    parser.add_argument("--epsilon", type=float, help="default: the compiled one, or 0.25")
    parser.add_argument("--few", type=int, default=16, help="images for what takes long")
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    if args.model is None:
        model = applications.get("digits_2c2f")()
        model.compile(epsilon=args.epsilon or 0.25)
    else:
        model = keras.models.load_model(args.model)
    data = datasets.load(args.dataset, data_dir=args.data_dir)
    x, y = data.x_val[: args.limit], data.y_val[: args.limit]
    epsilon = model.epsilon_value if args.epsilon is None else args.epsilon
    few = min(args.few, len(x))
    start = time.perf_counter()
    for _, operator in network_of(model)[0].operators():
        operator.norm  # noqa: B018 - found once and kept
    once = time.perf_counter() - start
    rows = stages(model, x, y, epsilon, few) + levels(model, x, y, epsilon)
    rows.append(power_iteration(model, x[:few], y[:few], epsilon, args.iterations))
    report(args, rows, once, epsilon)


def report(args: argparse.Namespace, rows: list[Row], once: float, epsilon: float) -> None:
    """Prints the table and writes the figures."""
    table = Table(
        title=f"{args.model or 'digits_2c2f, untrained'}, validation images of {args.dataset}, epsilon "
        f"{epsilon:.4g}, {keras.backend.backend()}; global norms, once: {once:.1f} s"
    )
    for column in ("what", "images", "certified %", "images/s", "ms/image"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        figures = f"{100 * row['certified']:.1f}", f"{row['per_second']:.3g}"
        each = f"{1e3 / row['per_second']:.3g}"
        table.add_row(row["name"], str(row["samples"]), *figures, each)
    ratio = rows[4]["per_second"] / rows[-1]["per_second"]
    Console().print(table)
    Console().print(f"The cascade is {ratio:.0f} x faster than {args.iterations} power iterations.")
    if args.json:
        setup = {"machine": platform.machine(), "keraslip": keraslip.__version__, "once": once}
        options = {k: str(v) for k, v in vars(args).items()}
        args.json.write_text(
            json.dumps({**setup, "options": options, "rows": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
