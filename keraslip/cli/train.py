"""`keraslip train`: a run with checkpoints, and its report."""

from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from keraslip.callbacks import LipschitzMonitor
from keraslip.cli.data import load_data
from keraslip.cli.report import write_report
from keraslip.cli.run_folder import BEST, CONFIG, RunFolder
from keraslip.cli.training import Settings, advice, begin, train
from keraslip.cli.warned import training_warnings
from keraslip.cli.wording import command
from keraslip.datasets import Dataset


def run_train(
    given: dict[str, Any],
    out: Path,
    data_dir: Path | None,
    attack_samples: int,
    certify_samples: int,
    resume: bool,
    overwrite: bool,
    console: Console,
    monitor: bool = False,
    tensorboard: bool = False,
) -> None:
    """Trains or continues a run and reports on its best model.

    Args:
        given: Settings the user gave, `None` for those left out.
        out: The run's folder.
        data_dir: Folder of tensorflow_datasets.
        attack_samples: Test images to attack at the end.
        certify_samples: Test images to certify at the end; 0 for all.
        resume: Whether to continue what is in the folder.
        overwrite: Whether to replace it.
        console: Where to print.
        monitor: Whether to write norms and radii of validation images after each epoch.
        tensorboard: Whether to write them for TensorBoard as well.
    """
    folder = RunFolder(out)
    stored = folder.read_json(CONFIG) if resume and out.is_dir() else None
    if resume and stored is None and folder.exists and not overwrite:
        raise FileNotFoundError(
            f"{out} holds no run to resume, and is not empty. Replace what is in it with --overwrite, or "
            "choose another folder with --out."
        )
    settings = Settings.resolve(given, stored)
    folder.check(overwrite or stored is not None)
    data = load_data(settings.dataset, data_dir)
    watch = [_monitor(out, data, tensorboard)] if monitor or tensorboard else []
    model = None
    if stored is None:
        model = begin(settings, data)
        folder.create(overwrite)
    console.print(f"{data}", f"seed {settings.seed}, backend {keras.backend.backend()}", sep="; ")
    try:
        with training_warnings(console, advice(settings)):
            _, seconds = train(settings, data, folder, console, callbacks=watch, model=model)
    except KeyboardInterrupt:
        watching = ["--monitor"] * monitor + ["--tensorboard"] * tensorboard
        console.print(
            "\nStopped. The epochs that were finished are kept; go on with: "
            + command("train", "--out", out, "--resume", *watching, data_dir=data_dir),
            soft_wrap=True,
        )
        raise SystemExit(130) from None
    # The best by VALIDATION certified accuracy; the test data decide nothing.
    best = keras.models.load_model(folder.path / BEST)
    more = {"epochs": settings.epochs, "seconds_trained": seconds}
    samples = attack_samples, certify_samples
    write_report(best, data, folder, settings.seed, console, *samples, more, data_dir)


def _monitor(out: Path, data: Dataset, tensorboard: bool) -> LipschitzMonitor:
    try:
        return LipschitzMonitor(out, data.x_val, data.y_val, tensorboard=tensorboard)
    except ImportError as error:
        raise ImportError(
            '--tensorboard needs a package: pip install "keraslip[tensorboard]"; --monitor alone needs none '
            "and writes the CSV file."
        ) from error
