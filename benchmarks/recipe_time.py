"""CPU seconds of a training step of each recipe: what `keraslip train --list-recipes` counts with.

One process on random images; the seconds are those that all of its threads computed together.

    OMP_NUM_THREADS=1 python benchmarks/recipe_time.py [--recipe mnist ...] [--steps 30]
"""

import argparse
import time

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from keraslip import applications
from keraslip.cli import training
from keraslip.cli.settings import Settings
from keraslip.cli.usual import RECIPES
from keraslip.datasets import Dataset

WARM_UP = 3


def images(settings: Settings) -> Dataset:
    """Random images like those of a data set, two batches of them."""
    generator = np.random.default_rng(0)
    network = applications.get(settings.application)()
    shape, classes = network.input_shape[1:], network.output_shape[-1]
    x = generator.random((2 * settings.batch_size, *shape), dtype="float32")
    y = generator.integers(0, classes, len(x)).astype("int32")
    return Dataset(x, y, x[:1], y[:1], x[:1], y[:1], settings.dataset, tuple("?" * classes))


def seconds_of_step(settings: Settings, steps: int) -> float:
    """CPU seconds of one step, the mean of some after a few to warm up."""
    data = images(settings)
    model = training.begin(settings, data)
    batches = training.training_batches(settings, data)
    for number in range(WARM_UP + steps):
        if number == WARM_UP:
            start = time.process_time()
        model.train_on_batch(*batches[number % 2])
    return (time.process_time() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", nargs="*", default=list(RECIPES))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--width", type=float, help="in place of the recipe's")
    args = parser.parse_args()
    table = Table("recipe", "CPU seconds of a step", title=f"{keras.backend.backend()}")
    for name in args.recipe:
        given = {} if args.width is None else {"width": args.width}
        found = seconds_of_step(Settings.resolve(given, recipe=name), args.steps)
        table.add_row(name, f"{found:.3g}")
    Console().print(table)


if __name__ == "__main__":
    main()
