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
from keras import layers
from rich.console import Console
from rich.progress import track
from rich.table import Table

import keraslip
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


def resnet() -> Any:
    """A residual network with BatchNormalization, as people bring it, for images of 32 x 32."""
    x = start = keras.Input((32, 32, 3))
    for filters, stride in ((16, 1), (16, 1), (32, 2), (64, 2)):
        shortcut = x
        for step, activation in ((stride, "relu"), (1, "linear")):
            x = layers.Conv2D(filters, 3, step, padding="same", use_bias=False)(x)
            x = layers.Activation(activation)(layers.BatchNormalization()(x))
        if shortcut.shape != x.shape:
            shortcut = layers.Conv2D(filters, 1, stride, use_bias=False)(shortcut)
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    return keras.Model(start, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def plain_cnn() -> Any:
    """A plain CNN without normalisation."""
    parts = [layers.Conv2D(32, 3, s, padding="same", activation="relu") for s in (1, 1, 2, 1, 2)]
    head = [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(10)]
    return keras.Sequential([keras.Input((32, 32, 3)), *parts, *head])


def converted_steps(build: Callable[[], Any]) -> dict[str, Callable]:
    """A Keras step of a model as it is, and one of what `keraslip.from_keras` makes of it."""
    model = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    converted = keraslip.from_keras(model)
    model.compile("adam", loss, metrics=["accuracy"])
    converted.compile("adam", epsilon=EPSILON)
    return {"plain Keras": model.train_on_batch, "converted, default": converted.train_on_batch}


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
#: Keras models as people bring them.
CONVERTED = {"ResNet with BatchNormalization, converted": resnet, "plain CNN, converted": plain_cnn}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--application", choices=applications.names(), help="this one alone")
    parser.add_argument("--activation", help="with this activation alone")
    parser.add_argument("--converted", action="store_true", help="the converted models alone")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="timed rounds")
    parser.add_argument("--only", nargs="*", help="names of the rows to measure")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    networks = {} if args.converted else chosen(args.application, args.activation)
    rows = []
    where = f"batch {args.batch_size}, {keras.backend.backend()}"
    for (application, activation), options in networks.items():
        begin()
        steps = {"plain Keras": plain_step(application, activation)}
        for name, arguments in options.items():
            if not args.only or name in args.only:
                steps[name] = certified_step(application, activation, **arguments)
        shape = applications.get(application)().input_shape[1:]
        rows += measured(f"{application}, {activation}, {where}", steps, shape, args)
    for name in CONVERTED if args.converted or networks is NETWORKS else ():
        begin()
        steps = converted_steps(CONVERTED[name])
        rows += measured(f"{name}, {where}", steps, (32, 32, 3), args)
    if args.json:
        setup = {"backend": keras.backend.backend(), "keras": keras.__version__}
        setup |= {
            "machine": platform.machine(),
            "options": {k: str(v) for k, v in vars(args).items()},
        }
        args.json.write_text(json.dumps({**setup, "rows": rows}, indent=2) + "\n")


def begin() -> None:
    """A fresh start for the next network."""
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()


def measured(title: str, steps: dict[str, Callable], shape: Any, args: argparse.Namespace) -> list:
    """The rows of one network, which are printed too."""
    generator = np.random.default_rng(0)
    x = generator.random((args.batch_size, *shape), dtype="float32")
    y = generator.integers(0, 10, args.batch_size)
    return [{"network": title, **row} for row in report(title, measure(steps, x, y, args.steps))]


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
