"""`keraslip train`: a run with checkpoints, and its report."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from keraslip.cli.options import AttackSamples, CertifySamples, DataDir, Out, Overwrite
from keraslip.cli.setting_options import with_settings
from keraslip.cli.settings import Settings


def _list(asked: bool) -> None:
    if asked:
        from keraslip.cli.recipes import table

        Console().print(table())
        raise typer.Exit()


@with_settings(Settings)
def train(
    out: Out,
    given: dict[str, Any],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Settings of a whole run by name, see --list-recipes.", show_default=False
        ),
    ] = None,
    list_recipes: Annotated[
        bool,
        typer.Option("--list-recipes", callback=_list, is_eager=True, help="Show the recipes."),
    ] = False,
    data_dir: DataDir = None,
    attack_samples: AttackSamples = 200,
    certify_samples: CertifySamples = 1000,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")
    ] = False,
    overwrite: Overwrite = False,
    monitor: Annotated[
        bool, typer.Option("--monitor", help="Write norms and radii of each epoch to monitor.csv.")
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard", help="Like --monitor, and also write event files for TensorBoard."
        ),
    ] = False,
) -> None:
    """Train a network on a data set, with checkpoints, and report on the test data.

    Options that are left out come from --recipe, else from what is usual for the network, or with --resume
    from the run itself.
    """
    import keras

    from keraslip.cli import report_files, training
    from keraslip.cli.data import check_parts, data_of_run, far_epsilon
    from keraslip.cli.run_folder import BEST, RunFolder
    from keraslip.cli.stopping import stopped_with
    from keraslip.cli.usual import named_again
    from keraslip.cli.warned import training_warnings, warn
    from keraslip.cli.wording import command

    console, folder = Console(), RunFolder(out)
    stored = _stored(folder, overwrite) if resume else None
    settings = Settings.resolve(given, stored, recipe)
    folder.check(overwrite or stored is not None)
    named = given.get("dataset") if stored else settings.dataset
    data = data_of_run(out, named, settings.dataset, data_dir)
    check_parts(data, "train", "val", "test")
    watch = [_monitor(out, data, tensorboard)] if monitor or tensorboard else []
    model = None
    if stored is None:
        model = training.begin(settings, data)
        folder.create(overwrite)
    console.print(f"{data}", f"seed {settings.seed}, backend {keras.backend.backend()}", sep="; ")
    warn(console, far_epsilon(data, settings.epsilon))
    watching = ["--monitor"] * monitor + ["--tensorboard"] * tensorboard
    own = named_again(settings.application)
    go_on = command("train", "--out", out, "--resume", *own, *watching, data_dir=data_dir)
    words = f"Stopped. The epochs that were finished are kept; go on with: {go_on}"
    with stopped_with(console, words), training_warnings(console, training.advice(settings)):
        training.train(settings, data, folder, console, callbacks=watch, model=model)
        # The best by VALIDATION certified accuracy; the test data decide nothing.
        best = keras.models.load_model(folder.path / BEST)
    samples = attack_samples, certify_samples
    report_files.write_report(
        best, data, folder, settings.seed, console, *samples, folder.trained(), data_dir
    )


def _stored(folder: Any, overwrite: bool) -> Any:
    """The settings of the run that goes on; `None` where there is nothing yet."""
    from keraslip.cli.run_folder import CONFIG

    stored = folder.read_json(CONFIG) if folder.path.is_dir() else None
    if stored is None and folder.exists and not overwrite:
        raise FileNotFoundError(
            f"{folder.path} holds no run to resume, and is not empty. Replace what is in it with "
            "--overwrite, or choose another folder with --out."
        )
    return stored


def _monitor(out: Path, data: Any, tensorboard: bool) -> Any:
    from keraslip.callbacks import LipschitzMonitor

    try:
        return LipschitzMonitor(out, data.x_val, data.y_val, tensorboard=tensorboard)
    except ImportError as error:
        raise ImportError(
            '--tensorboard needs a package: pip install "keraslip[tensorboard]"; --monitor alone needs none '
            "and writes the CSV file."
        ) from error
