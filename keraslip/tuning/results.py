"""What a search found: one row for each trial, as CSV, JSON and picture."""

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

from keraslip.files import write_table, write_text
from keraslip.plots.pareto_front import front
from keraslip.typing import FilePath

Row = dict[str, Any]

CSV, JSON, PICTURE = "results.csv", "results.json", "pareto.png"
COMPLETED = "COMPLETED"
#: keras-tuner's own entries; of these only the epochs say something about the trial.
_OWN, _EPOCHS = "tuner/", "tuner/epochs"


def trial_rows(search: keras_tuner.Tuner | FilePath) -> list[Row]:
    """All trials of a search, finished or interrupted, the highest certified accuracy first.

    Among equals the higher clean accuracy comes first.

    Args:
        search: A tuner, or the folder of its project (`directory/project_name`).

    Returns:
        One dictionary for each trial: `trial`, `status` (keras-tuner's: `"COMPLETED"`, `"FAILED"`,
        `"INVALID"`, `"RUNNING"`), `clean_accuracy` and `certified_accuracy` on the validation data
        (`None` if the trial has none), `guarantee` (`"estimate"`: the accuracies come from
        training, by power iteration), `epsilon`, `pareto` (whether no other trial is better in one
        accuracy and as good in the other), `message`, then the hyperparameters.

    Raises:
        FileNotFoundError: if the folder holds no trials.
        ValueError: if a trial's file cannot be read.

    Warns:
        UserWarning: if trials did not complete, with their reasons.
    """
    rows = rows_of(_trials(search))
    if lost := incomplete(rows):
        warnings.warn(lost, stacklevel=2)
    return rows


def _trials(search: Any) -> list[Trial]:
    if isinstance(search, keras_tuner.Tuner):
        if not hasattr(search.oracle, "trials"):
            raise ValueError(
                "Only the chief knows all trials; ask it, or read the project's folder."
            )
        return list(search.oracle.trials.values())
    files = sorted(Path(search).glob("trial_*/trial.json"))
    if not files:
        raise FileNotFoundError(
            "There are no trials in this folder; a search keeps them in directory/project_name. "
            f"Received: {os.fspath(search)}"
        )
    return [_loaded(file) for file in files]


def _loaded(file: Path) -> Trial:
    try:
        return Trial.load(str(file))
    except (ValueError, KeyError) as error:
        raise ValueError(
            "This trial's file was not written to the end; remove its folder, and the search without "
            f"it can be read. Received: {file}"
        ) from error


def rows_of(trials: Iterable[Trial]) -> list[Row]:
    """The rows of trials, see `trial_rows`."""
    rows = [_row(trial) for trial in trials]
    _mark_front(rows)
    return sorted(rows, key=_rank)


def _row(trial: Trial) -> Row:
    values = dict(trial.hyperparameters.values)
    own = {name: values.pop(name) for name in list(values) if name.startswith(_OWN)}
    epochs = {"epochs": own[_EPOCHS]} if _EPOCHS in own else {}
    return {
        "trial": trial.trial_id,
        "status": trial.status,
        "clean_accuracy": _metric(trial, "val_accuracy"),
        "certified_accuracy": _metric(trial, "val_certified_accuracy"),
        "guarantee": "estimate",
        "epsilon": values.pop("epsilon", None),
        "pareto": False,
        "message": ((trial.message or "").strip().splitlines() or [""])[-1],
        **{
            name: value.item() if hasattr(value, "item") else value
            for name, value in values.items()
        },
        **epochs,
    }


def _metric(trial: Trial, name: str) -> float | None:
    """The metric at the epoch that the trial is judged by."""
    if trial.status != COMPLETED or not trial.metrics.exists(name):
        return None
    found = {seen.step: seen.mean() for seen in trial.metrics.get_history(name)}
    return float(found[trial.best_step]) if trial.best_step in found else None


def _rank(row: Row) -> tuple[float, float, str]:
    certified, clean = row["certified_accuracy"], row["clean_accuracy"]
    return (
        1.0 if certified is None else -certified,
        1.0 if clean is None else -clean,
        row["trial"],
    )


def _mark_front(rows: Sequence[Row]) -> None:
    done = [row for row in rows if None not in _accuracies(row)]
    for index in front(np.array([_accuracies(row) for row in done]).reshape(-1, 2)):
        done[index]["pareto"] = True


def _accuracies(row: Row) -> tuple[Any, Any]:
    return row["clean_accuracy"], row["certified_accuracy"]


def incomplete(rows: Sequence[Row]) -> str:
    """What there is to say about trials that did not complete; nothing if all did."""
    lost = [row for row in rows if row["status"] != COMPLETED]
    if not lost:
        return ""
    which = "; ".join(
        f"{r['trial']} {r['status']}{': ' * bool(r['message'])}{r['message']}" for r in lost
    )
    return f"{len(lost)} of {len(rows)} trials did not complete: {which}"


def write_results(search: keras_tuner.Tuner | FilePath, out: FilePath) -> list[Row]:
    """Writes **results.csv**, **results.json** and the picture **pareto.png**, each in one go.

    Args:
        search: A tuner, or the folder of its project.
        out: The folder for the files; it is made if missing.

    Returns:
        The rows, as `trial_rows`.

    Raises:
        FileNotFoundError: if there are no trials.
        ImportError: if matplotlib is missing.

    Warns:
        UserWarning: if trials did not complete.
    """
    rows = trial_rows(search)
    write_rows(rows, out)
    return rows


def write_rows(rows: Sequence[Row], out: FilePath) -> None:
    """Writes rows and their picture into a folder, see `write_results`."""
    folder = Path(out)
    # Not every trial has every hyperparameter.
    write_table(folder / CSV, rows)
    write_text(folder / JSON, json.dumps(rows, indent=2) + "\n")
    draw(folder / PICTURE, rows)


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Draws the trade-off of the trials that completed; nothing if none did."""
    from keraslip.plots import pareto_front

    done = [row for row in rows if None not in _accuracies(row)]
    if not done:
        return
    pareto_front(
        path,
        [row["clean_accuracy"] for row in done],
        [row["certified_accuracy"] for row in done],
        [row["trial"] for row in done],
        epsilon=done[0]["epsilon"],
        footnote=f"{len(done)} of {len(rows)} trials, validation data. Certified accuracy is an estimate "
        "by power iteration; model.certify proves it.",
    )
