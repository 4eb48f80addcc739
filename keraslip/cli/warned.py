"""Warnings as lines of the terminal; those of a training with remedies that the command has."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from keraslip.models.callbacks import TrainingWarning


def warn(console: Console, text: str | None) -> None:
    """One line for a warning; none for `None`."""
    if text is not None:
        console.print(f"[bold yellow]warning:[/] {text}", soft_wrap=True, highlight=False)


@contextmanager
def training_warnings(console: Console, remedy: str = "") -> Iterator[None]:
    """Inside the block a run that does not learn is told on the console."""
    with warnings.catch_warnings():
        others: Any = warnings.showwarning

        def show(message: Any, *arguments: Any, **options: Any) -> None:
            if not isinstance(message, TrainingWarning):
                others(message, *arguments, **options)
                return
            warn(console, f"{message.problem} {remedy}".strip())

        warnings.showwarning = show
        warnings.simplefilter("always", TrainingWarning)
        yield
