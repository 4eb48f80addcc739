"""`keraslip train`: a run with checkpoints, and its report."""

from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from keraslip import datasets
from keraslip.cli.measure import measure, print_table
from keraslip.cli.pictures import draw
from keraslip.cli.run_folder import BEST, CONFIG, RunFolder
from keraslip.cli.training import Settings, train


def run_train(
    given: dict[str, Any],
    out: Path,
    data_dir: Path | None,
    attack_samples: int,
    resume: bool,
    overwrite: bool,
    console: Console,
) -> None:
    """Trains or continues a run and reports on its best model.

    Args:
        given: Settings the user gave, `None` for those left out.
        out: The run's folder.
        data_dir: Folder of tensorflow_datasets.
        attack_samples: Test images to attack at the end.
        resume: Whether to continue what is in the folder.
        overwrite: Whether to replace it.
        console: Where to print.
    """
    folder = RunFolder(out)
    stored = folder.read_json(CONFIG) if resume else None
    settings = Settings.resolve(given, stored)
    data = datasets.load(settings.dataset, data_dir)
    if stored is None:
        folder.create(overwrite)
    console.print(f"{data}", f"seed {settings.seed}, backend {keras.backend.backend()}", sep="; ")
    try:
        _, seconds = train(settings, data, folder, console)
    except KeyboardInterrupt:
        console.print(
            f"\nStopped. The epochs that were finished are kept; go on with: "
            f"keraslip train --out {out} --resume"
        )
        raise SystemExit(130) from None
    # The best by VALIDATION certified accuracy; the test data decide nothing.
    best = keras.models.load_model(folder.path / BEST)
    report = measure(best, data, settings.seed, attack_samples)
    report |= {"seconds_trained": seconds, "epochs": settings.epochs}
    draw(best, data, folder, settings.seed, console)
    folder.write_json("report.json", report)
    print_table(report, console)
    console.print(f"Best and last model, log.csv, report.json and pictures are in {out}.")
