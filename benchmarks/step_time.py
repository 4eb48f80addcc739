"""Price of a certified training step: its time as a ratio to a plain Keras step of the same network.

All steps of a network run in turn in one process, so that a machine that others use slows them down alike.

    python benchmarks/step_time.py [--application cifar_6c2f --activation maxmin] [--steps 10] [--json FILE]
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


#: What is measured of each network, besides the plain step: options of `compile`.
SHORT: dict[str, Any] = {"global (default)": {}, "local": {"bound": "local"}}
FULL = SHORT | {
    "local=all": {"local": "all"},
    "paper, 2 iterations": {"bound": "paper", "power_iterations": 2},
}
NETWORKS = {
    ("cifar_6c2f", "clipped_relu"): FULL,
    ("cifar_6c2f", "clipped_maxmin"): SHORT,
    ("cifar_6c2f", "maxmin"): SHORT,
    ("mnist_4c3f", "clipped_relu"): SHORT,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--application", choices=applications.names(), help="this one alone")
    parser.add_argument("--activation", help="with this activation alone")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="timed rounds")
    parser.add_argument("--only", nargs="*", help="names of the rows to measure")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    networks = chosen(args.application, args.activation)
    rows = []
    for (application, activation), options in networks.items():
        keras.utils.set_random_seed(0)
        keras.backend.clear_session()
        steps = {"plain Keras": plain_step(application, activation)}
        for name, arguments in options.items():
            if not args.only or name in args.only:
                steps[name] = certified_step(application, activation, **arguments)
        shape = applications.get(application)().input_shape[1:]
        generator = np.random.default_rng(0)
        x = generator.random((args.batch_size, *shape), dtype="float32")
        y = generator.integers(0, 10, args.batch_size)
        times = measure(steps, x, y, args.steps)
        title = f"{application}, {activation}, batch {args.batch_size}, {keras.backend.backend()}"
        rows += [{"network": title, **row} for row in report(title, times)]
    if args.json:
        setup = {"backend": keras.backend.backend(), "keras": keras.__version__}
        setup |= {
            "machine": platform.machine(),
            "options": {k: str(v) for k, v in vars(args).items()},
        }
        args.json.write_text(json.dumps({**setup, "rows": rows}, indent=2) + "\n")


def chosen(
    application: str | None, activation: str | None
) -> dict[tuple[str, str], dict[str, Any]]:
    """The networks to measure."""
    if application is None and activation is None:
        return NETWORKS
    pair = (application or "cifar_6c2f", activation or "clipped_relu")
    return {pair: FULL}


def report(title: str, times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Prints the table of a network, and returns its rows."""
    plain = times["plain Keras"]
    table = Table(title=title)
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
    return rows


if __name__ == "__main__":
    main()
