"""`keraslip` in a process of its own, on a few digits: `python -m tests.cli.few_digits train ...`.

With STOP_HERE=file it waits in the middle of the second epoch, and says so by making that file.
"""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keraslip.cli
from keraslip import datasets
from keraslip.cli import training
from keraslip.cli.progress import EpochBar


def few_digits() -> datasets.Dataset:
    """Three batches of training images."""
    digits = datasets.load("digits")
    return replace(
        digits,
        x_train=digits.x_train[:60],
        y_train=digits.y_train[:60],
        x_val=digits.x_val[:20],
        y_val=digits.y_val[:20],
        x_test=digits.x_test[:20],
        y_test=digits.y_test[:20],
    )


class Waiting(EpochBar):
    """Waits for a signal, in the thread that gets it."""

    epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_end(batch, logs)
        if (self.epoch, batch) == (1, 1):
            Path(os.environ["STOP_HERE"]).touch()
            while True:
                time.sleep(0.01)


whole_train = training.train


def train_only(*args: Any, **options: Any) -> None:
    """Trains, and leaves out the report that follows: it takes longer."""
    whole_train(*args, **options)
    raise SystemExit(0)


def main() -> None:
    """Runs the command on them."""
    # A process started in the background may have been told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    digits = few_digits()
    datasets.load = lambda *_: digits
    training.train = train_only
    if "STOP_HERE" in os.environ:
        training.EpochBar = Waiting
    keraslip.cli.main()


if __name__ == "__main__":
    main()
