"""Does local training win? An ablation at equal epochs and at equal CPU time, to be stopped and resumed.

Every run is a folder in OUT: what it is, its curves, its clean accuracy and the accuracy that is proved for
the network as executed in float32. A run that is done is not done again; one that was stopped goes on after
its last epoch. While the file PAUSE exists nothing is computed.

    nice -n 19 python benchmarks/local_training.py OUT [--data cifar10 mnist] [--epochs 20] [--pause PAUSE]
    python benchmarks/local_training.py OUT --table
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keraslip
from keraslip import applications, datasets, losses
from keraslip.activations import Activation, ClippedReLU, Slopes
from keraslip.datasets import ShuffledBatches

#: Application, epsilon and augmentation for each data set.
NETS = {"cifar10": ("cifar_4c3f", 36 / 255, "crop_flip"), "mnist": ("mnist_4c3f", 1.58, None)}
LOSSES = {"gloro": losses.GloRoLoss, "bcp": losses.BCPLoss}
#: Options of `compile` for each way to bound; the last one is another for the last third of the run.
BOUNDS: dict[str, list[dict[str, Any]]] = {
    "global": [{"bound": "global"}],
    "dense": [{"local": "dense"}],
    "all": [{"local": "all"}],
    "global, then dense": [{"bound": "global"}, {"local": "dense"}],
    "dense, anchored": [{"local": "dense"}],
}


@dataclass(frozen=True)
class Run:
    """All that decides a run.

    Args:
        data: Data set.
        bound: One of `BOUNDS`.
        activation: Of the network.
        loss: One of `LOSSES`.
        sparsity: Weight of the sparsity loss.
        threshold: Initial threshold; `None` is the application's.
        seed: Of weights and batches.
        budget: `"epochs"`: as many epochs as every other run; `"time"`: the CPU seconds of the run with
            `bound="global"`.
    """

    data: str
    bound: str
    activation: str = "clipped_relu"
    loss: str = "gloro"
    sparsity: float = 0.0
    threshold: float | None = None
    seed: int = 0
    budget: str = "epochs"

    @property
    def name(self) -> str:
        """What its files are called."""
        parts = [str(value) for value in asdict(self).values()]
        return "-".join(parts).replace(", ", "_").replace(" ", "_")


def all_runs(data: list[str], seeds: int) -> list[Run]:
    """The ablation, the questions that matter most first: equal time, equal epochs, then the rest."""
    questions: list[dict[str, Any]] = [
        {"bound": "global"},
        {"bound": "dense", "budget": "time"},
        {"bound": "global, then dense", "budget": "time"},
        {"bound": "all", "budget": "time"},
        {"bound": "global", "activation": "clipped_maxmin"},
        {"bound": "dense", "budget": "time", "activation": "clipped_maxmin"},
        {"bound": "global, then dense", "budget": "time", "activation": "clipped_maxmin"},
        {"bound": "dense"},
        {"bound": "dense", "activation": "clipped_maxmin"},
    ]
    others: list[dict[str, Any]] = [
        {"bound": bound, **option}
        for option in ({"loss": "bcp"}, {"sparsity": 0.01}, {"threshold": 0.5}, {"threshold": 2.0})
        for bound in ("global", "dense")
    ]
    others.append({"bound": "dense, anchored", "budget": "time"})
    last: list[dict[str, Any]] = [
        {"bound": "all", "budget": "time", "activation": "clipped_maxmin"},
        {"bound": "all"},
    ]
    first = [
        Run(data=name, seed=seed, **question)
        for seed in range(seeds)
        for question in questions
        for name in data
    ]
    rest = [Run(data=name, **question) for question in others + last for name in data]
    return first + rest


class Clock(keras.callbacks.Callback):
    """Counts the CPU seconds of training steps, keeps the run at every epoch, and waits while it should."""

    def __init__(self, folder: Path, state: dict[str, Any], pause: Path | None) -> None:
        super().__init__()
        self.folder, self.state, self.pause = folder, state, pause

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        while self.pause is not None and self.pause.exists():
            time.sleep(5)
        self._began = time.process_time()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.state["seconds"] += time.process_time() - self._began

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.state["epochs_done"] = epoch + 1
        self.state["history"].append({k: float(v) for k, v in (logs or {}).items()})
        self.model.save(self.folder / "last.keras")
        write(self.folder / "state.json", self.state)


class StopAt(keras.callbacks.Callback):
    """Ends a `fit` early, for another one to go on with the run."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch + 1 >= self.epoch:
            self.model.stop_training = True


@contextmanager
def weights(bound: str) -> Iterator[None]:
    """What a unit weighs in a local norm: 0 or 1, or its steepest slope from the center ("anchored").

    The masks hold between any two points of a box, the slopes from its middle alone, and are smaller.
    """
    if "anchored" not in bound:
        yield
        return

    def anchored(activation: Activation, z: Any, rho: Any) -> Slopes:
        return activation.slopes(z, rho, hard=False)

    with mock.patch.object(ClippedReLU, "kept", anchored):
        yield


def write(path: Path, content: Any) -> None:
    """A JSON file that is whole at any time."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)


def seconds_of_a_step(run: Run, data: Any, batch_size: int, options: dict[str, Any]) -> float:
    """CPU seconds of one training step: the median of some, after the first ones."""
    model = compiled(run, data, 1, batch_size, options)
    x, y = data.x_train[:batch_size], data.y_train[:batch_size]
    times = []
    for _ in range(12):
        began = time.process_time()
        model.train_on_batch(x, y)
        times.append(time.process_time() - began)
    return float(np.median(times[3:]))


def epochs_of(run: Run, data: Any, epochs: int, batch_size: int) -> int:
    """The length of a run that its budget allows."""
    if run.budget == "epochs":
        return epochs
    price = seconds_of_a_step(run, data, batch_size, BOUNDS["global"][0])
    own = [seconds_of_a_step(run, data, batch_size, options) for options in BOUNDS[run.bound]]
    # The second part is the last third.
    mean = own[0] if len(own) == 1 else (2 * own[0] + own[1]) / 3
    return max(1, round(epochs * price / mean))


def compiled(run: Run, data: Any, epochs: int, batch_size: int, options: dict[str, Any]) -> Any:
    """The model of a run at its start."""
    keras.utils.set_random_seed(run.seed)
    application, epsilon, _ = NETS[run.data]
    thresholds = {} if run.threshold is None else {"threshold": run.threshold}
    model = applications.get(application)(activation=run.activation, width=0.5, **thresholds)
    steps = epochs * -(-len(data.x_train) // batch_size)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps))
    model.compile(
        optimizer, epsilon=epsilon, loss=LOSSES[run.loss](), sparsity=run.sparsity, **options
    )
    return model


def train(
    run: Run, data: Any, folder: Path, epochs: int, batch_size: int, pause: Path | None
) -> None:
    """Trains a run to its end, from where it stands."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "state.json"
    if path.exists():
        state = json.loads(path.read_text())
    else:
        length = epochs_of(run, data, epochs, batch_size)
        state = {
            "run": asdict(run),
            "epochs": length,
            "epochs_done": 0,
            "seconds": 0.0,
            "history": [],
        }
    total, parts = state["epochs"], BOUNDS[run.bound]
    ends = [total] if len(parts) == 1 else [total - total // 3, total]
    for options, end in zip(parts, ends, strict=True):
        done = state["epochs_done"]
        if done >= end:
            continue
        model = compiled(run, data, total, batch_size, options)
        if done:
            before = keras.models.load_model(folder / "last.keras")
            recompile(model, before)
        batches = ShuffledBatches(
            data.x_train, data.y_train, batch_size, run.seed, NETS[run.data][2], start_epoch=done
        )
        model.fit(
            batches,
            epochs=total,
            initial_epoch=done,
            shuffle=False,
            validation_data=(data.x_val[:2000], data.y_val[:2000]),
            validation_batch_size=500,
            callbacks=[Clock(folder, state, pause), StopAt(end)],
            verbose=0,
        )
    model = keras.models.load_model(folder / "last.keras")
    # The default is chosen by this: not by test images.
    x, y = data.x_val[-1000:], data.y_val[-1000:]
    proved = model.certify(x, y, verbose=False)
    state["clean"] = float(np.mean(model.predict(x, verbose=0).argmax(axis=1) == y))
    state["certified"] = float(np.mean(proved.certified))
    write(folder / "result.json", state)


def recompile(model: Any, before: Any) -> None:
    """Gives a model the weights and the optimizer's state of another."""
    model.set_weights(before.get_weights())
    model.optimizer.build(model.trainable_variables)
    for mine, other in zip(model.optimizer.variables, before.optimizer.variables, strict=True):
        mine.assign(other)


def table(folder: Path) -> None:
    """Prints the runs that are done."""
    shown = Table(title=f"{folder}: certified is proved for float32, 1,000 validation images")
    columns = ("data", "activation", "loss", "sparsity", "threshold", "budget", "bound", "seeds", "epochs",
               "CPU s", "clean %", "certified %")  # fmt: skip
    for column in columns:
        shown.add_column(column, justify="right" if column in columns[7:] else "left")
    groups: dict[tuple, list[dict]] = {}
    for path in sorted(folder.glob("*/result.json")):
        result = json.loads(path.read_text())
        run = Run(**result["run"])
        key = (
            run.data,
            run.activation,
            run.loss,
            run.sparsity,
            run.threshold,
            run.budget,
            run.bound,
        )
        groups.setdefault(key, []).append(result)
    for key in sorted(groups, key=str):
        found = groups[key]
        means = [
            np.mean([r[name] for r in found])
            for name in ("epochs", "seconds", "clean", "certified")
        ]
        figures = f"{means[0]:.0f}", f"{means[1]:.0f}", f"{means[2]:.1%}", f"{means[3]:.1%}"
        shown.add_row(*map(str, key), str(len(found)), *figures)
    Console(width=160).print(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", nargs="+", default=["cifar10", "mnist"], choices=NETS)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument(
        "--only", nargs="+", default=[], help="runs whose name has one of these texts"
    )
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--pause", type=Path, help="wait while this file exists")
    parser.add_argument("--table", action="store_true", help="print what is done and end")
    args = parser.parse_args()
    if args.table:
        table(args.out)
        return
    known: dict[str, Any] = {}
    for run in all_runs(args.data, args.seeds):
        folder = args.out / run.name
        if (folder / "result.json").exists():
            continue
        if args.only and not any(text in run.name for text in args.only):
            continue
        if run.data not in known:
            data = datasets.load(run.data)
            limits = {
                "x_train": data.x_train[: args.images],
                "y_train": data.y_train[: args.images],
            }
            known[run.data] = replace(data, **limits)
        Console().print(f"{time.strftime('%H:%M')} {run.name} (keraslip {keraslip.__version__})")
        keras.backend.clear_session()
        with weights(run.bound):
            train(run, known[run.data], folder, args.epochs, args.batch_size, args.pause)


if __name__ == "__main__":
    main()
