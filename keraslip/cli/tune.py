"""`keraslip tune`: a search with keras-tuner, its table and its picture."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from rich.console import Console

from keraslip import applications, datasets, tuning
from keraslip.cli.data import load_data
from keraslip.cli.output import check_folder
from keraslip.cli.run_folder import BEST, RunFolder
from keraslip.cli.search_files import drop_unrecorded, whole_files
from keraslip.cli.search_settings import SearchSettings, parse_space
from keraslip.cli.search_view import TrialBar, announced, show_lost, trial_table
from keraslip.cli.training import training_batches
from keraslip.cli.warned import training_warnings
from keraslip.cli.wording import command
from keraslip.tuning.results import COMPLETED, CSV, JSON, PICTURE, rows_of, write_rows

#: The state of the search, and keras-tuner's own folder beside it.
STATE, TRIALS = "search.json", "trials"
DEFAULT_TRIALS = 20
TUNERS = {
    "random": keras_tuner.RandomSearch,
    "hyperband": keras_tuner.Hyperband,
    "bayesian": keras_tuner.BayesianOptimization,
}


def run_tune(
    given: dict[str, Any],
    trials: int | None,
    out: Path,
    data_dir: Path | None,
    resume: bool,
    overwrite: bool,
    console: Console,
) -> None:
    """Searches, or goes on searching, and shows what was found.

    Args:
        given: Settings the user gave, `None` for those left out.
        trials: How many trials at most; may grow from run to run.
        out: Folder of the search.
        data_dir: Folder of tensorflow_datasets.
        resume: Whether to continue what is in the folder.
        overwrite: Whether to replace it.
        console: Where to print.

    Raises:
        SystemExit: 130 after Ctrl-C, 1 if no trial completed.
    """
    check_folder(out)
    folder, worker = RunFolder(out), _is_worker()
    stored = _stored(folder, resume, overwrite, worker)
    settings = SearchSettings.resolve(given, stored and stored["settings"])
    if settings.tuner not in TUNERS:
        raise ValueError(
            f"--tuner must be one of {', '.join(TUNERS)}. Received: {settings.tuner!r}"
        )
    trials = trials or (stored and stored["trials"]) or _usual_trials(settings)
    data = load_data(settings.dataset, data_dir)
    console.print(f"{data}", f"seed {settings.seed}, backend {keras.backend.backend()}", sep="; ")
    hypermodel, batches = _hypermodel(settings, data), training_batches(settings, data)
    if stored is None:
        # What no trial can be built with is refused here, before anything is written.
        hypermodel.build(keras_tuner.HyperParameters())
    state = {"settings": settings.as_dict(), "trials": trials}
    with whole_files():
        if stored and not worker:
            drop_unrecorded(out / TRIALS)
        tuner = _tuner(settings, trials, hypermodel, folder, stored is None, console)
        if not worker:
            tuner.save()  # keras-tuner itself does so only after the first trial
            for name in (CSV, JSON, PICTURE, BEST):
                (out / name).unlink(missing_ok=True)
            folder.write_json(STATE, {**state, "complete": False})
        go_on = command("tune", "--out", out, "--resume", data_dir=data_dir)
        _search(tuner, settings, batches, data, go_on, console)
    if worker:
        console.print("No more trials for this worker; the chief writes the results.")
        return
    _finish(tuner, folder, settings.dataset, data_dir, console)
    folder.write_json(STATE, {**state, "complete": True})


def _is_worker() -> bool:
    """Whether keras-tuner's variables make this process a worker of a chief elsewhere."""
    chief = "chief" in os.environ.get("KERASTUNER_TUNER_ID", "")
    return "KERASTUNER_ORACLE_IP" in os.environ and not chief


def _stored(folder: RunFolder, resume: bool, overwrite: bool, worker: bool) -> Any:
    """The state of the search that goes on; `None` for a new one."""
    state = folder.read_json(STATE)
    if worker and state is None:
        raise FileNotFoundError(
            f"The chief has not begun a search in {folder.path}: start it first, with the same --out."
        )
    if worker or (resume and state is not None):
        return state
    if (state is not None or (folder.path / TRIALS).exists()) and not (overwrite or resume):
        raise FileExistsError(
            f"There is a search in {folder.path}. Continue it with --resume, replace it with "
            "--overwrite, or choose another folder with --out."
        )
    return None


def _usual_trials(settings: SearchSettings) -> int | None:
    # Hyperband has a schedule of its own.
    return None if settings.tuner == "hyperband" else DEFAULT_TRIALS


def _hypermodel(settings: SearchSettings, data: datasets.Dataset) -> tuning.LipschitzHyperModel:
    builder = partial(
        applications.get(settings.application),
        activation=settings.activation,
        input_shape=data.input_shape,
        classes=data.num_classes,
    )
    return tuning.LipschitzHyperModel(
        builder,
        settings.epsilon,
        compile_options={"power_iterations": settings.power_iterations},
        seed=settings.seed,
        **parse_space(settings.space),
    )


def _tuner(
    settings: SearchSettings,
    trials: int | None,
    hypermodel: tuning.LipschitzHyperModel,
    folder: RunFolder,
    fresh: bool,
    console: Console,
) -> Any:
    options: dict[str, Any] = {
        "objective": tuning.certified_objective(),
        "seed": settings.seed + 1,  # keras-tuner takes 0 for none
        "directory": str(folder.path),
        "project_name": TRIALS,
        "overwrite": fresh,
    }
    if settings.tuner == "hyperband":
        options["max_epochs"] = settings.epochs
    else:
        options["max_trials"] = trials
    if settings.tuner == "bayesian":
        # Its own default, three for each hyperparameter, would leave a short search at random.
        options["num_initial_points"] = max(3, (trials or DEFAULT_TRIALS) // 3)
    tuner = announced(TUNERS[settings.tuner], console)(hypermodel, **options)
    if settings.tuner == "hyperband" and not _is_worker():
        tuner.oracle.max_trials = trials
    return tuner


def _search(
    tuner: Any,
    settings: SearchSettings,
    batches: datasets.ShuffledBatches,
    data: datasets.Dataset,
    go_on: str,
    console: Console,
) -> None:
    """Trains on the training data, compares on the validation data; the test data are not touched."""
    bar = TrialBar(console)
    try:
        with training_warnings(console):
            tuner.search(
                batches,
                epochs=settings.epochs,
                shuffle=False,
                validation_data=(data.x_val, data.y_val),
                validation_batch_size=min(1000, len(data.x_val)),
                callbacks=[bar],
                verbose=0,
            )
    except KeyboardInterrupt:
        bar.stop()
        _stopped(tuner, go_on, console)
        raise SystemExit(130) from None
    except RuntimeError as error:
        # keras-tuner gives up after three failures in a row.
        bar.stop()
        _stopped(tuner, go_on, console)
        console.print(f"[bold red]The search was given up:[/] {str(error).splitlines()[0]}")
        raise SystemExit(1) from None
    finally:
        bar.stop()


def _stopped(tuner: Any, go_on: str, console: Console) -> None:
    if rows := rows_of(getattr(tuner.oracle, "trials", {}).values()):
        console.print(trial_table(rows))
        show_lost(rows, console)
    console.print(
        "\nStopped. The trials that were finished are kept, and the one that was not starts again; go on "
        f"with: {go_on}",
        soft_wrap=True,
    )


def _finish(
    tuner: Any, folder: RunFolder, dataset: str, data_dir: Path | None, console: Console
) -> None:
    rows = rows_of(tuner.oracle.trials.values())
    console.print(trial_table(rows))
    show_lost(rows, console)
    if not any(row["status"] == COMPLETED for row in rows):
        raise SystemExit(1)
    folder.save_model(BEST, tuner.load_model(tuner.oracle.get_trial(rows[0]["trial"])))
    write_rows(rows, folder.path)
    where = "--dataset", dataset, "--split", "validation"
    console.print(
        f"{CSV}, {JSON}, {PICTURE} and the best model are in {folder.path}. Its certified accuracy is an "
        "estimate; prove it with: "
        + command("certify", folder.path / BEST, *where, data_dir=data_dir),
        soft_wrap=True,
    )
