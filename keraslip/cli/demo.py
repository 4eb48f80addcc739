"""`keraslip demo`: the main job on the digits that come with scikit-learn."""

import time
from pathlib import Path

from rich.console import Console

from keraslip import datasets
from keraslip.cli.measure import measure, print_table
from keraslip.cli.pictures import draw
from keraslip.cli.run_folder import RunFolder
from keraslip.cli.training import Settings, train


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
    folder.create(overwrite)
    data = datasets.load(settings.dataset)
    console.print(f"{data}; epsilon {settings.epsilon}, seed {seed}")
    try:
        model, seconds = train(settings, data, folder, console, keep_best=False)
    except KeyboardInterrupt:
        console.print("\nStopped before the end; start again with --overwrite.")
        raise SystemExit(130) from None
    folder.save_model("model.keras", model)
    report = measure(model, data, seed)
    draw(model, data, folder, seed, console)
    report |= {"seconds_trained": seconds, "seconds": time.perf_counter() - started}
    folder.write_json("report.json", report | {"epochs": settings.epochs})
    print_table(report, console)
    console.print(f"model.keras, report.json, curve.png, images.png and training.png are in {out}.")
