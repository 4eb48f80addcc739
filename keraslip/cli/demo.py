"""`keraslip demo`: the main job on the digits that come with scikit-learn."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keraslip.cli.options import Out, Overwrite, Seed
from keraslip.cli.settings import Settings
from keraslip.cli.usual import RECIPES

#: What it trains.
RECIPE = "digits"


def demo(
    out: Out = Path("runs/digits"),
    seed: Seed = 0,
    overwrite: Overwrite = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Length of the run; default: the recipe's.")
    ] = None,
) -> None:
    """Train on scikit-learn's digits and show clean, attacked and certified accuracy."""
    from keraslip.cli import report_files, training
    from keraslip.cli.data import load_data
    from keraslip.cli.run_folder import MODEL, RunFolder
    from keraslip.cli.stopping import stopped_with
    from keraslip.cli.warned import training_warnings

    started, console = time.perf_counter(), Console()
    settings = Settings.resolve({"seed": seed, "epochs": epochs}, recipe=RECIPE)
    folder = RunFolder(out)
    folder.check(overwrite, resumable=False)
    data = load_data(settings.dataset)
    model = training.begin(settings, data)
    folder.create(overwrite, resumable=False)
    console.print(f"{data}; epsilon {settings.epsilon}, seed {seed}")
    words = "Stopped before the end; begin again with the same command and --overwrite."
    with stopped_with(console, words), training_warnings(console, _advice(settings)):
        model, seconds = training.train(settings, data, folder, console, False, model=model)
        folder.save_model(MODEL, model)
    report_files.write_report(model, data, folder, seed, console, more=folder.trained())
    console.print(
        f"{time.perf_counter() - started:.0f} s in all, {seconds:.0f} s of them training."
    )


def _advice(settings: Settings) -> str:
    usual = RECIPES[RECIPE]["epochs"]
    if settings.epochs < usual:
        return f"Begin again with more --epochs; the recipe has {usual}."
    return "Begin again with another --seed."
