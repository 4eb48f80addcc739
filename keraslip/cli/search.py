"""A search with keras-tuner, behind `keraslip tune`."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras_tuner
from rich.console import Console

from keraslip import datasets, tuning
from keraslip.cli.own_model import builder
from keraslip.cli.run_folder import BEST, RunFolder, read_json
from keraslip.cli.search_settings import TUNERS, SearchSettings, parse_space
from keraslip.cli.search_view import TrialBar, announced, show_lost, trial_table
from keraslip.cli.stopping import Stopped
from keraslip.cli.usual import named_again
from keraslip.cli.warned import training_warnings
from keraslip.cli.wording import command
from keraslip.files import write_text
from keraslip.tuning.results import COMPLETED, CSV, JSON, PICTURE, rows_of, write_rows
from keraslip.tuning.space import check_names

#: keras-tuner's own folder beside the state of the search.
TRIALS = "trials"
DEFAULT_TRIALS = 20


def is_worker() -> bool:
    """Whether keras-tuner's variables make this process a worker of a chief elsewhere."""
    chief = "chief" in os.environ.get("KERASTUNER_TUNER_ID", "")
    return "KERASTUNER_ORACLE_IP" in os.environ and not chief


def usual_trials(settings: SearchSettings) -> int | None:
    """Trials where the user names no number; hyperband has a schedule of its own."""
    return None if settings.tuner == "hyperband" else DEFAULT_TRIALS


def hypermodel(settings: SearchSettings, data: datasets.Dataset) -> tuning.LipschitzHyperModel:
    """What is searched: the network with its activation, over the space that was given."""
    network = builder(
        settings.application,
        activation=settings.activation,
        input_shape=data.input_shape,
        classes=data.num_classes,
    )
    space = parse_space(settings.space)
    check_names(space)  # a name may be that of another argument
    return tuning.LipschitzHyperModel(
        network,
        settings.epsilon,
        compile_options={
            "power_iterations": settings.power_iterations,
            "input_range": data.input_range,
        },
        seed=settings.seed,
        **space,
    )


def build_tuner(
    settings: SearchSettings,
    trials: int | None,
    model: tuning.LipschitzHyperModel,
    folder: RunFolder,
    fresh: bool,
    console: Console,
) -> Any:
    """The tuner, in the folder of the search."""
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
    tuner = announced(getattr(keras_tuner, TUNERS[settings.tuner]), console)(model, **options)
    if settings.tuner == "hyperband" and not is_worker():
        tuner.oracle.max_trials = trials
    return tuner


def search(
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
    except (KeyboardInterrupt, RuntimeError) as error:
        bar.stop()
        _stopped(tuner, go_on, console)
        if isinstance(error, KeyboardInterrupt):
            raise Stopped(130) from None
        # keras-tuner gives up after three failures in a row.
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


def finish(
    tuner: Any,
    folder: RunFolder,
    settings: SearchSettings,
    data_dir: Path | None,
    console: Console,
) -> None:
    """Shows and writes what was found; a search in which no trial completed ends with status 1."""
    rows = rows_of(tuner.oracle.trials.values())
    console.print(trial_table(rows))
    show_lost(rows, console)
    if not any(row["status"] == COMPLETED for row in rows):
        raise SystemExit(1)
    folder.save_model(BEST, tuner.load_model(tuner.oracle.get_trial(rows[0]["trial"])))
    write_rows(rows, folder.path)
    where = "--dataset", settings.dataset, "--split", "validation"
    own = named_again(settings.application, "--code")
    console.print(
        f"{CSV}, {JSON}, {PICTURE} and the best model are in {folder.path}. Its certified accuracy is an "
        "estimate; prove it with: "
        + command("certify", folder.path / BEST, *where, *own, data_dir=data_dir),
        soft_wrap=True,
    )


@contextmanager
def whole_files() -> Iterator[None]:
    """Inside the `with` keras-tuner writes its state in one go; by itself it writes in place."""
    from keras_tuner.src import utils

    def save_json(path: Any, obj: Any) -> str:
        text = json.dumps(obj)
        write_text(Path(path), text)
        return text

    in_place, utils.save_json = utils.save_json, save_json
    try:
        yield
    finally:
        utils.save_json = in_place


def drop_unrecorded(trials: Path) -> None:
    """Removes trials that keras-tuner was about to begin: its oracle would count but never run them."""
    oracle = read_json(trials / "oracle.json") or {}
    for file in trials.glob("trial_*/trial.json"):
        if read_json(file)["trial_id"] not in oracle.get("start_order", []):
            shutil.rmtree(file.parent)
