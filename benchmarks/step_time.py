"""Price of a certified training step: its time as a ratio to a plain Keras step of the same network.

Both steps run in turn in one process, so that a machine that others use slows down both alike.

    python benchmarks/step_time.py [--application cifar_6c2f] [--batch-size 64] [--steps 10] [--json FILE]
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from keraslip import applications

EPSILON = 36 / 255


def plain_step(name: str, activation: str) -> Callable[[np.ndarray, np.ndarray], None]:
    """A Keras step without any bound, on the same layers."""
    bounded = applications.get(name)(activation=activation)
    model = keras.Model(bounded.inputs, bounded.outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return lambda x, y: model.train_on_batch(x, y)


def certified_step(
    name: str, activation: str, **options: object
) -> Callable[[np.ndarray, np.ndarray], None]:
    """A step of a `LocalLipschitzModel`."""
    model = applications.get(name)(activation=activation)
    model.compile("adam", epsilon=EPSILON, **options)
    return lambda x, y: model.train_on_batch(x, y)


def measure(steps: dict[str, Callable], x: np.ndarray, y: np.ndarray, rounds: int) -> dict:
    """Seconds of every step, in turn, after two warm-up rounds."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in track(range(rounds + 2), description="steps", transient=True):
        for name, step in steps.items():
            start = time.perf_counter()
            step(x, y)
            if number >= 2:
                times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--application", default="cifar_6c2f", choices=applications.names())
    parser.add_argument("--activation", default="clipped_relu")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="timed rounds")
    parser.add_argument("--only", nargs="*", help="names of the rows to measure")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    arguments = (args.application, args.activation)
    steps = {
        "plain Keras": plain_step(*arguments),
        "local, 1 iteration": certified_step(*arguments),
        "local, 2 iterations": certified_step(*arguments, power_iterations=2),
        "global, 1 iteration": certified_step(*arguments, bound="global"),
        "paper, 2 iterations": certified_step(*arguments, bound="paper", power_iterations=2),
    }
    if args.only:
        steps = {k: v for k, v in steps.items() if k == "plain Keras" or k in args.only}
    shape = applications.get(args.application)().input_shape[1:]
    generator = np.random.default_rng(0)
    x = generator.random((args.batch_size, *shape), dtype="float32")
    y = generator.integers(0, 10, args.batch_size)
    times = measure(steps, x, y, args.steps)
    report(args, times)


def report(args: argparse.Namespace, times: dict[str, list[float]]) -> None:
    """Prints the table and writes the figures."""
    backend = keras.backend.backend()
    plain = times["plain Keras"]
    table = Table(
        title=f"{args.application}, {args.activation}, batch {args.batch_size}, {backend}"
    )
    for column in ("step", "median ms", "ratio to plain (median of rounds)", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "step" else "right")
    rows = []
    for name, seconds in times.items():
        ratios = [a / b for a, b in zip(seconds, plain, strict=True)]
        row = {
            "step": name,
            "milliseconds": 1e3 * statistics.median(seconds),
            "ratio": statistics.median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
        }
        rows.append(row)
        figures = [f"{row[key]:.2f}" for key in ("ratio", "lowest", "highest")]
        table.add_row(name, f"{row['milliseconds']:.0f}", *figures)
    Console().print(table)
    if args.json:
        setup = {"backend": backend, "keras": keras.__version__, "machine": platform.machine()}
        options = {k: str(v) for k, v in vars(args).items()}
        args.json.write_text(
            json.dumps({**setup, "options": options, "rows": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
