"""Cost of certification: images a second of the whole and of each stage, and how many each stage settled.

    python benchmarks/certification.py runs/cifar/best.keras --dataset cifar10
    python benchmarks/certification.py                       # the digits network that comes with the package
    python benchmarks/certification.py MODEL.keras --dataset mnist --compare

The first 1,000 test images, level proved. What is done once for a model (it is written down and probed, norms
are proved, the attack is compiled) is timed apart. `--compare` adds the other levels, and the obvious
alternative: 2000 masked power iterations for every sample and layer, which still prove nothing.
"""

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keraslip
from keraslip import applications, datasets
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.result.status import CERTIFIED_BY
from keraslip.certify.run import certifier

Row = dict[str, Any]

#: What certification announces, in order, and what it settles.
STAGES = {
    "predictions": ("misclassified", "tied", "nonfinite"),
    "global norms": ("slopes",),
    "dense norms": ("dense",),
    "attack": ("attacked",),
    "boxes": ("boxes",),
    "convolution norms": ("convolution",),
    "alarm": (),
}


class Clock:
    """Takes the place of a progress bar: how long each stage took, on the clock and of processors."""

    def __init__(self) -> None:
        self.spent: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
        self._stage, self._since = "begin", self._now()

    def _now(self) -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    def __call__(self, stage: str, settled: int) -> None:
        now = self._now()
        self.spent[self._stage] += now - self._since
        self._since = now
        # Reports from inside of a stage have other names.
        self._stage = stage if stage in STAGES else self._stage

    def expect(self, count: int | None) -> None:
        """A bar would want to know."""


def whole(model: Any, x: np.ndarray, y: np.ndarray, epsilon: float) -> list[Row]:
    """All images through the cascade, and what each of its stages had to do."""
    clock = Clock()

    @contextmanager
    def progress(verbose: Any) -> Iterator[Clock]:
        yield clock

    with mock.patch.object(certifier, "progress", progress):
        found = model.certify(x, y, epsilon=epsilon)
    clock("end", 0)
    rows, left = [], len(x)
    for stage, settles in STAGES.items():
        settled = int(np.isin(found.status, settles).sum())
        looked = left if stage != "alarm" else int(found.certified.sum())
        rows.append(_row(f"- {stage}", looked, clock.spent[stage], settled=settled))
        left -= settled
    total, certified = sum(clock.spent.values()), found.certified_accuracy(y)
    settled = int(np.isin(found.status, [*sum(STAGES.values(), ()), *CERTIFIED_BY]).sum())
    whole = _row("proved, float32", len(x), total, settled=settled, certified=certified)
    return [whole, *rows]


def _row(name: str, images: int, spent: np.ndarray, **more: Any) -> Row:
    seconds, processor = (float(one) for one in spent)
    rate = images / seconds if images and seconds else None
    return {
        **{"name": name, "images": images, "seconds": seconds, "processor": processor},
        **{"per_second": rate, **more},
    }


def timed(name: str, images: int, work: Callable[[], float]) -> Row:
    """Runs something once that returns a certified accuracy."""
    start = np.array([time.perf_counter(), time.process_time()])
    certified = work()
    spent = np.array([time.perf_counter(), time.process_time()]) - start
    return _row(name, images, spent, certified=certified)


def others(
    model: Any, x: np.ndarray, y: np.ndarray, epsilon: float, few: int, steps: int
) -> list[Row]:
    """The other levels, and masked power iterations in float32 for every sample and layer."""
    options: dict[str, dict[str, Any]] = {
        "proved, float64": {"arithmetic": "float64"},
        "frozen": {"effort": "frozen"},
        "proved, with radius": {"radius": True},
        "probabilistic": {"guarantee": "probabilistic"},
    }

    def work(**kwargs: Any) -> float:
        found = model.certify(x, y, epsilon=epsilon, verbose=False, **kwargs)
        return found.certified_accuracy(y)

    def estimate() -> float:
        return model.estimate(
            x[:few], y[:few], epsilon=epsilon, power_iterations=steps, batch_size=few
        ).certified_accuracy

    rows = [timed(name, len(x), lambda o=o: work(**o)) for name, o in options.items()]
    return [*rows, timed(f"{steps} power iterations (no proof)", few, estimate)]


def once(model: Any, x: np.ndarray, y: np.ndarray, epsilon: float) -> float:
    """Seconds of what is done once for a model."""
    start = time.perf_counter()
    for _, operator in network_of(model)[0].operators():
        operator.norm  # noqa: B018 - found once and kept
    model.certify(x[:2], y[:2], epsilon=epsilon, verbose=False)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a .keras file")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--limit", type=int, default=1000, help="test images")
    parser.add_argument("--epsilon", type=float, help="default: the compiled one, or 0.25")
    parser.add_argument("--compare", action="store_true", help="other levels, and power iterations")
    parser.add_argument("--few", type=int, default=16, help="images for power iterations")
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    if args.model is None:
        model = applications.get("digits_2c2f")(weights="digits")
        model.compile(epsilon=args.epsilon or 0.25)
    else:
        model = keras.models.load_model(args.model)
    data = datasets.load(args.dataset, data_dir=args.data_dir)
    x, y = data.x_test[: args.limit], data.y_test[: args.limit]
    epsilon = model.epsilon_value if args.epsilon is None else args.epsilon
    before = once(model, x, y, epsilon)
    rows = whole(model, x, y, epsilon)
    if args.compare:
        rows += others(model, x, y, epsilon, min(args.few, len(x)), args.iterations)
    report(args, rows, before, epsilon)


def report(args: argparse.Namespace, rows: list[Row], once: float, epsilon: float) -> None:
    """Prints the table and writes the figures."""
    table = Table(
        title=f"{args.model or 'digits_2c2f'}, test images of {args.dataset}, epsilon {epsilon:.4g}, "
        f"{keras.backend.backend()}; once for the model: {once:.1f} s"
    )
    columns = ("what", "images", "settled", "certified %", "s", "CPU s", "images/s")
    for column in columns:
        side = "left" if column == "what" else "right"
        table.add_column(column, justify=side, no_wrap=True)
    for row in rows:
        certified, rate = row.get("certified"), row["per_second"]
        table.add_row(
            row["name"],
            str(row["images"]),
            str(row.get("settled", "")),
            "" if certified is None else f"{100 * certified:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['processor']:.1f}",
            "" if rate is None else f"{rate:.3g}",
        )
    Console(width=100).print(table)
    if args.compare:
        ratio = rows[0]["per_second"] / rows[-1]["per_second"]
        Console().print(
            f"The cascade is {ratio:.0f} x faster than {args.iterations} power iterations."
        )
    if args.json:
        setup = {"machine": platform.machine(), "keraslip": keraslip.__version__, "once": once}
        options = {k: str(v) for k, v in vars(args).items()}
        args.json.write_text(
            json.dumps({**setup, "options": options, "rows": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
