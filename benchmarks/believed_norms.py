"""What a training step believes of its norms, next to the converged ones, layer by layer and over time.

Trains for real and stops at some steps: the norms of a fixed batch of training images are taken as the step
takes them, from the warm starts of that moment, and again with the same masks by long iterations.

    python benchmarks/believed_norms.py [--data cifar10] [--activation maxmin] [--epochs 4] [--json FILE]
"""

import argparse
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from rich.console import Console
from rich.table import Table

from keraslip import applications, backend, datasets
from keraslip.bounds.spectral import masked_norm
from keraslip.layers.masked import random_unit_vector
from keraslip.models.options import uniform_iterations
from keraslip.rules import Propagation
from keraslip.rules.kept import kept
from keraslip.rules.walk import propagate
from keraslip.schedules import at_progress, current

#: Application and epsilon for each data set.
NETS = {"cifar10": ("cifar_4c3f", 36 / 255), "mnist": ("mnist_4c3f", 1.58)}
#: Iterations that count as converged: from the step's start and a random part.
LONG = 90


class Compared(Propagation):
    """A training pass that keeps what it believed of each norm, and the converged norm of the same masks."""

    def _norm(self, index: int, pending: Any, columns: Any, rows: Any, learn: bool = True) -> Any:
        believed = super()._norm(index, pending, columns, rows, learn)
        key = self._key_of(index)
        start = self.vectors.start(key, pending)
        noise = ops.convert_to_tensor(random_unit_vector("refreshed", pending.out_shape))
        if not self._is_local:
            columns = rows = None
        converged, _ = masked_norm(pending, start + 0.5 * noise, columns, rows, LONG)
        self.__dict__.setdefault("pairs", {})[key] = believed, converged
        return believed


class Watch(keras.callbacks.Callback):
    """Compares at the beginning of some steps."""

    def __init__(self, x: np.ndarray, steps: set[int], always: int) -> None:
        super().__init__()
        self.x, self.steps, self.always, self.step = x, steps, always, 0
        self.found: list[dict[str, Any]] = []
        self.names: list[str] = []

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.step in self.steps or (self.step and self.step % self.always == 0):
            self.compare()
        self.step += 1

    def compare(self) -> None:
        model = self.model
        with at_progress(model.run_state.progress()):
            epsilon = np.float32(ops.convert_to_numpy(current(model.train_epsilon)))
        pairs = self._function(model)(self.x, epsilon)
        halves = zip(pairs[::2], pairs[1::2], strict=True)
        for name, (believed, converged) in zip(self.names, halves, strict=True):
            share = believed / np.maximum(converged, believed)
            self.found.append(
                {
                    "step": self.step,
                    "layer": name,
                    "samples": len(share),
                    "norm": float(np.mean(converged)),
                    "median": float(np.median(share)),
                    "low": float(np.quantile(share, 0.05)),
                    "worst": float(share.min()),
                }
            )

    def _function(self, model: Any) -> Any:
        def function(x: Any, epsilon: Any) -> list[Any]:
            context = Compared(
                epsilon,
                model.warm_starts,
                model.bound,
                model.power_iterations,
                uniform_iterations(model.power_iterations),
                model.locality,
            )
            form = propagate(model, x, context)
            context.key = "/logits"
            context.lipschitz(form)
            pairs = context.__dict__["pairs"]
            self.names = list(pairs)
            return [norm for pair in pairs.values() for norm in pair]

        return kept(model, "compared", lambda: backend.compiled(model, function))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10", choices=NETS)
    parser.add_argument("--activation", default="clipped_relu")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--bound", default="local")
    parser.add_argument("--local", default="auto")
    parser.add_argument("--power-iterations", type=int)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--probe", type=int, default=128, help="images that are compared")
    parser.add_argument("--every", type=int, default=50, help="steps between two comparisons")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    name, epsilon = NETS[args.data]
    data = datasets.load(args.data)
    x, y = data.x_train[: args.images], data.y_train[: args.images]
    model = applications.get(name)(activation=args.activation, width=args.width)
    counts = {} if args.power_iterations is None else {"power_iterations": args.power_iterations}
    steps = args.epochs * -(-len(x) // args.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        epsilon=epsilon,
        bound=args.bound,
        local=args.local,
        **counts,
    )
    watch = Watch(x[: args.probe], {0, 1, 2, 3, 5, 8, 12, 20, 30}, args.every)
    history = model.fit(
        x,
        y,
        batch_size=args.batch_size,
        epochs=args.epochs,
        callbacks=[watch],
        validation_data=(data.x_val[:1000], data.y_val[:1000]),
        validation_batch_size=250,
        verbose=2,
    )
    found = model.estimate(
        data.x_val[:1000], data.y_val[:1000], power_iterations=100, local=model.local
    )
    logs = {k: v[-1] for k, v in history.history.items()}
    report(args, watch.found, logs, found)


def report(args: argparse.Namespace, found: list[dict], logs: dict, estimate: Any) -> None:
    """Prints the tables and writes the figures."""
    console = Console(width=120)
    table = Table(
        title=f"{args.data}, {args.activation}, bound {args.bound}, local {args.local}, believed / converged"
    )
    for column in (
        "layer",
        "samples",
        "norm at the end",
        "lowest median",
        "lowest p5",
        "worst sample",
    ):
        table.add_column(column, justify="left" if column == "layer" else "right")
    layers = list(dict.fromkeys(row["layer"] for row in found))
    for layer in layers:
        rows = [row for row in found if row["layer"] == layer]
        numbers = [min(row[key] for row in rows) for key in ("median", "low", "worst")]
        last = rows[-1]
        shown = (f"{number:.3f}" for number in numbers)
        table.add_row(layer, str(last["samples"]), f"{last['norm']:.3f}", *shown)
    console.print(table)
    over_time = Table(title="over time: median / p5 of the samples")
    over_time.add_column("step", justify="right")
    for layer in layers:
        over_time.add_column(layer.removeprefix("activation_"), justify="right")
    steps = sorted({row["step"] for row in found})
    for step in steps:
        rows = {row["layer"]: row for row in found if row["step"] == step}
        cells = (f"{rows[la]['median']:.3f}/{rows[la]['low']:.3f}" for la in layers)
        over_time.add_row(str(step), *cells)
    console.print(over_time)
    lipschitz = float(estimate.lipschitz.mean())
    console.print(
        f"validation: believed L {logs['val_lipschitz']:.3f}, "
        f"certified {logs['val_certified_accuracy']:.1%}; "
        f"converged L {lipschitz:.3f}, certified {estimate.certified_accuracy:.1%}"
    )
    if args.json:
        options = {key: str(value) for key, value in vars(args).items()}
        result = {
            "backend": keras.backend.backend(),
            "options": options,
            "rows": found,
            "logs": logs,
        }
        result |= {"lipschitz": lipschitz, "certified_accuracy": estimate.certified_accuracy}
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
