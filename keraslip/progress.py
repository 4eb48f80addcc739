"""Progress on the terminal: a bar with times, and below it, in words, what is going on.

It fits 60 columns. Where the output is no terminal each new stage is one plain line.
"""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

#: Seconds between plain lines of one stage.
PAUSE = 10.0


class _Left(TimeRemainingColumn):
    """The time left, called so; nothing where nobody can know, or where only the last touches are."""

    def render(self, task: Task) -> Text:
        unknown = task.total is None or task.completed > task.total - 1
        return Text("") if unknown else Text.assemble("left ", super().render(task))


class Bar(Progress):
    """One bar as wide as the terminal, and a line of words below it."""

    def __init__(self, title: str, console: Console, transient: bool = False) -> None:
        super().__init__(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            _Left(),
            console=console,
            transient=transient,
            disable=not (console.is_terminal or console.is_jupyter),
            expand=True,
        )
        self.task = self.add_task(title, total=None, count="", words="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar and the words; called by rich."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if words := task.fields["words"]:
                yield Text(f"  {words}")

    def show(self, **fields: Any) -> None:
        """Changes total, completed, count or words."""
        self.update(self.task, **fields)


class Stages:
    """What a long computation tells: `stages("norms: layer 1 of 6")`, `stages("attack", 12)`."""

    def __init__(self, bar: Bar, title: str) -> None:
        self.bar, self.title = bar, title
        self.total: int | None = None
        self.done = 0
        self._stage, self._printed = "", 0.0

    def expect(self, total: int | None) -> None:
        """Says how many samples there are, if that is known."""
        self.total = total
        self.bar.show(total=total, count=self._count())

    def __call__(self, words: str, done: int = 0) -> None:
        """Says what has begun, and how many samples were settled meanwhile."""
        self.done += done
        # What is complete stops rich's clock, and there may be stages to come.
        almost = self.done if self.total is None else min(self.done, self.total - 0.5)
        self.bar.show(completed=almost, count=self._count(), words=words)
        if self.bar.disable:
            self._print(words)

    def _print(self, words: str) -> None:
        stage = re.split("[,;]", words)[0]
        if stage == self._stage and time.monotonic() < self._printed + PAUSE:
            return
        self._stage, self._printed = stage, time.monotonic()
        count = f" {self._count()}" if self._count() else ""
        self.bar.console.print(f"{self.title}{count}: {words}", soft_wrap=True, highlight=False)

    def _count(self) -> str:
        if self.total is None:
            return str(self.done) if self.done else ""
        return f"{self.done}/{self.total}"


@contextmanager
def stages(title: str, verbose: Any, console: Console | None = None) -> Iterator[Stages]:
    """A bar with the stages of a computation, to be told of the progress.

    It is shown if verbose, with `"auto"` on a terminal while it lasts; on standard output by default.
    """
    console = Console() if console is None else console
    shown = console.is_terminal if verbose == "auto" else bool(verbose)
    bar = Bar(title, console if shown else Console(quiet=True), transient=verbose == "auto")
    with bar:
        told = Stages(bar, title)
        yield told
        bar.show(completed=told.done)
