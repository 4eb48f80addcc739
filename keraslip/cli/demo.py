"""`keraslip demo`: the main job on the digits that come with scikit-learn."""

import time
from pathlib import Path

from rich.console import Console

from keraslip.cli.data import load_data
from keraslip.cli.recipes import RECIPES
from keraslip.cli.report import write_report
from keraslip.cli.run_folder import MODEL, RunFolder
from keraslip.cli.training import Settings, begin, train
from keraslip.cli.warned import training_warnings


def run_demo(out: Path, seed: int, overwrite: bool, epochs: int | None, console: Console) -> None:
    """Trains, measures and draws.

    Args:
        out: Folder for model, report and pictures.
        seed: Seed of weights, order of the data and attack.
        overwrite: Whether to replace what is in the folder.
        epochs: Length of the run, the recipe's if `None`.
        console: Where to print.
    """
    started = time.perf_counter()
    given = {"application": "digits_2c2f", "seed": seed, "epochs": epochs}
    settings = Settings.resolve(given)
    folder = RunFolder(out)
    folder.check(overwrite, resumable=False)
    data = load_data(settings.dataset)
    model = begin(settings, data)
    folder.create(overwrite, resumable=False)
    console.print(f"{data}; epsilon {settings.epsilon}, seed {seed}")
    try:
        with training_warnings(console, _advice(settings)):
            model, seconds = train(settings, data, folder, console, keep_best=False, model=model)
    except KeyboardInterrupt:
        console.print(
            "\nStopped before the end; begin again with the same command and --overwrite."
        )
        raise SystemExit(130) from None
    folder.save_model(MODEL, model)
    more = {"epochs": settings.epochs, "seconds_trained": seconds}
    write_report(model, data, folder, seed, console, more=more)
    console.print(
        f"{time.perf_counter() - started:.0f} s in all, {seconds:.0f} s of them training."
    )


def _advice(settings: Settings) -> str:
    usual = RECIPES[settings.application].epochs
    if settings.epochs < usual:
        return f"Begin again with more --epochs; the recipe has {usual}."
    return "Begin again with another --seed."
