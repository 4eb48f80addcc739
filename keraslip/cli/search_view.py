"""A search on the terminal: the trial that runs, and the table of all."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from keraslip.cli.progress import EpochBar
from keraslip.cli.tables import percent
from keraslip.tuning.results import COMPLETED, Row, incomplete

#: What is in a row besides hyperparameters.
_RESULTS = {
    "trial",
    "status",
    "clean_accuracy",
    "certified_accuracy",
    "guarantee",
    "epsilon",
    "pareto",
    "message",
}


class TrialBar(EpochBar):
    """The bar of the trial that is trained."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "TrialBar":
        # keras-tuner gives every trial a copy of its callbacks; there is only one terminal.
        return self

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.bar.reset(self.bar.task, count="", words="")
        super().on_train_begin(logs)


def announced(kind: Any, console: Console) -> Any:
    """A class of tuners that says which trial begins and how it ended."""

    class Announced(kind):
        def on_trial_begin(self, trial: Any) -> None:
            values = trial.hyperparameters.values.items()
            shown = {k: v for k, v in values if k != "epsilon" and not k.startswith("tuner/")}
            console.print(f"trial {trial.trial_id}: {_listed(shown)}", soft_wrap=True)
            super().on_trial_begin(trial)

        def on_trial_end(self, trial: Any) -> None:
            try:
                super().on_trial_end(trial)
            finally:
                if trial.status != COMPLETED:
                    console.print(
                        f"[bold red]Trial {trial.trial_id} {trial.status}[/]\n{trial.message or ''}"
                    )

    return Announced


def trial_table(rows: Sequence[Row]) -> Table:
    """All trials with their hyperparameters."""
    table = Table(
        title=f"{len(rows)} trials, validation data, epsilon {_short(rows[0]['epsilon'])}; certified "
        "accuracy is an estimate (power iteration); * Pareto front",
        title_justify="left",
    )
    table.add_column("trial")
    table.add_column("clean %", justify="right")
    table.add_column("certified %", justify="right")
    table.add_column("hyperparameters")
    for row in rows:
        done = row["status"] == COMPLETED
        table.add_row(
            f"{row['trial']}{' *' * row['pareto']}",
            _percent(row["clean_accuracy"]) if done else f"[red]{row['status']}[/]",
            _percent(row["certified_accuracy"]),
            _listed({name: value for name, value in row.items() if name not in _RESULTS}),
        )
    return table


def show_lost(rows: Sequence[Row], console: Console) -> None:
    """Says which trials did not complete, and why."""
    if lost := incomplete(rows):
        console.print(f"[bold red]{lost}[/]")


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in values.items())


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else percent(fraction)


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
