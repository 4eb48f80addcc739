"""`keraslip tune`: a search with keras-tuner, its table and its picture."""

from typing import Annotated, Any

import typer
from rich.console import Console

from keraslip.cli.options import DataDir, Out, Overwrite
from keraslip.cli.search_settings import SearchSettings
from keraslip.cli.setting_options import with_settings

#: The state of the search.
STATE = "search.json"


@with_settings(SearchSettings)
def tune(
    out: Out,
    given: dict[str, Any],
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Largest number of trials; default: 20, for hyperband its own."),
    ] = None,
    data_dir: DataDir = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the search in --out where it stopped.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Search hyperparameters by certified accuracy on validation data, with keras-tuner.

    Writes a table of all trials (CSV, JSON), a picture of clean against certified accuracy, and the
    best model. Ctrl-C keeps the finished trials for --resume. The test data are not touched.
    """
    import keraslip.tuning  # noqa: F401 - first: it says which extra is missing

    # isort: split
    import keras
    import keras_tuner

    from keraslip.cli import search
    from keraslip.cli.data import check_parts, data_of_run, far_epsilon
    from keraslip.cli.output import check_folder
    from keraslip.cli.run_folder import BEST, RunFolder
    from keraslip.cli.training import training_batches
    from keraslip.cli.usual import named_again
    from keraslip.cli.warned import warn
    from keraslip.cli.wording import command
    from keraslip.tuning.results import CSV, JSON, PICTURE

    check_folder(out)
    console, folder, worker = Console(), RunFolder(out), search.is_worker()
    stored = _stored(folder, resume, overwrite, worker)
    settings = SearchSettings.resolve(given, stored and stored["settings"])
    trials = trials or (stored and stored["trials"]) or search.usual_trials(settings)
    named = given.get("dataset") if stored else settings.dataset
    data = data_of_run(out, named, settings.dataset, data_dir)
    check_parts(data, "train", "val")
    console.print(f"{data}", f"seed {settings.seed}, backend {keras.backend.backend()}", sep="; ")
    warn(console, far_epsilon(data, settings.epsilon))
    hypermodel, batches = search.hypermodel(settings, data), training_batches(settings, data)
    if stored is None:
        # What no trial can be built with is refused here, before anything is written.
        hypermodel.build(keras_tuner.HyperParameters())
    state = {"settings": settings.as_dict(), "trials": trials}
    with search.whole_files():
        if stored and not worker:
            search.drop_unrecorded(out / search.TRIALS)
        tuner = search.build_tuner(settings, trials, hypermodel, folder, stored is None, console)
        if not worker:
            tuner.save()  # keras-tuner itself does so only after the first trial
            for name in (CSV, JSON, PICTURE, BEST):
                (out / name).unlink(missing_ok=True)
            folder.write_json(STATE, {**state, "complete": False})
        own = named_again(settings.application)
        go_on = command("tune", "--out", out, "--resume", *own, data_dir=data_dir)
        search.search(tuner, settings, batches, data, go_on, console)
    if worker:
        console.print("No more trials for this worker; the chief writes the results.")
        return
    search.finish(tuner, folder, settings, data_dir, console)
    folder.write_json(STATE, {**state, "complete": True})


def _stored(folder: Any, resume: bool, overwrite: bool, worker: bool) -> Any:
    """The state of the search that goes on; `None` for a new one."""
    from keraslip.cli.search import TRIALS

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
