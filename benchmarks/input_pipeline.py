"""Share of a training step that is spent waiting for the next batch.

Columns: reading the data set, making a batch with nothing beside it, a step, the median and the longest wait
before a step, and all waiting as a share of waiting and steps.

Reads data sets that tensorflow_datasets has prepared (TFDS_DATA_DIR), and trains on shuffled batches with the
augmentation of each network's recipe, as `keraslip train` does.

    python benchmarks/input_pipeline.py [--applications mnist_4c3f cifar_4c3f] [--steps 10] [--json FILE]
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.progress import track
from rich.table import Table

from keraslip import applications, datasets
from keraslip.cli.recipes import RECIPES

WARM_UP = 2
COLUMNS = ("read s", "batch ms", "step ms", "wait ms", "longest ms", "waiting")


def seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returns, and how long it took."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def measure(name: str, batch_size: int, steps: int, data_dir: str | None) -> dict[str, Any]:
    """The figures of one network, times in seconds."""
    recipe = RECIPES[name]
    data, read = seconds(lambda: datasets.load(recipe.dataset, data_dir))
    options = {"batch_size": batch_size, "augment": recipe.augment}
    alone = datasets.ShuffledBatches(data.x_train, data.y_train, **options)
    # Nothing is done between these, so that none is made ahead.
    making = [seconds(lambda i=i: alone[i])[1] for i in range(min(len(alone), steps + 5))]
    model = applications.get(name)()
    model.compile("adam", epsilon=recipe.epsilon, power_iterations=recipe.power_iterations)
    batches = datasets.ShuffledBatches(data.x_train, data.y_train, **options)
    waits, works = [], []
    for i in track(range(min(len(batches), steps + WARM_UP)), description=name, transient=True):
        (x, y), wait = seconds(lambda i=i: batches[i])
        _, work = seconds(lambda x=x, y=y: model.train_on_batch(x, y))
        if i >= WARM_UP:
            waits.append(wait)
            works.append(work)
    return {
        "application": name,
        "data": str(data),
        "augment": recipe.augment,
        "steps": len(waits),
        "read": read,
        "batch": statistics.median(making),
        "step": statistics.median(works),
        "waiting": statistics.median(waits),
        "longest": max(waits),
        "share": sum(waits) / (sum(waits) + sum(works)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [name for name in applications.names() if name in RECIPES]
    parser.add_argument(
        "--applications", nargs="+", default=["mnist_4c3f", "cifar_6c2f"], choices=names
    )
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each network")
    parser.add_argument("--data-dir", help="folder of tensorflow_datasets")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    rows = [measure(name, args.batch_size, args.steps, args.data_dir) for name in args.applications]
    report(args, rows)


def report(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Prints the table and writes the figures."""
    backend = keras.backend.backend()
    table = Table(title=f"Input pipeline, batch {args.batch_size}, {backend}")
    table.add_column("network", no_wrap=True)
    for title in COLUMNS:
        table.add_column(title, justify="right")
    for row in rows:
        figures = [f"{1e3 * row[key]:.1f}" for key in ("batch", "step", "waiting", "longest")]
        table.add_row(row["application"], f"{row['read']:.1f}", *figures, f"{row['share']:.2%}")
    Console().print(table)
    if args.json:
        setup = {
            "backend": backend,
            "keras": keras.__version__,
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        }
        options = {k: str(v) for k, v in vars(args).items()}
        figures = {**setup, "options": options, "rows": rows}
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
