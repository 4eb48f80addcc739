"""The pictures of a run: accuracy against epsilon, test images with their radii, training curves."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keraslip import plots
from keraslip.cli.measure import BATCH, ITERATIONS, POINTS, Measured, curve_epsilons, withstand
from keraslip.cli.run_folder import PICTURES, RunFolder
from keraslip.datasets import Dataset
from keraslip.progress import stages

SHOWN = 32
#: Every tenth point is attacked, and bounded globally: these cost a pass each.
MEASURED = slice(None, None, 10)
CURVE_PGD_STEPS = 20
WORDS = "attacks and global bounds at several epsilons"


def draw(
    model: Any, data: Dataset, folder: RunFolder, found: Measured, seed: int, console: Console
) -> None:
    """Draws curve.png, images.png of images and, if the folder has a log, training.png."""
    curve, images, training = (folder.path / name for name in PICTURES)
    _curve(model, data, found, curve, seed, console)
    if data.are_images:
        _images(model, data, found, images)
    if rows := folder.history():
        history = {
            key: [row[key] for row in rows] for key in rows[0] if key not in ("epoch", "seconds")
        }
        plots.training_curves(training, history)


def _curve(
    model: Any, data: Dataset, found: Measured, path: Path, seed: int, console: Console
) -> None:
    count = len(found.radii)
    x, y = data.x_test[:count], data.y_test[:count]
    epsilons = curve_epsilons(model.epsilon_value)
    attacked, uniform = np.full((2, POINTS), np.nan)
    alive = found.predictions[:count] == y
    steps = list(enumerate(epsilons))[MEASURED]
    with stages("curve", True, console) as told:
        told.expect(len(steps))
        for i, epsilon in steps:
            told(WORDS)
            # What is lost in a ball is lost in every larger one.
            alive = withstand(model, x, y, float(epsilon), alive, CURVE_PGD_STEPS, seed, verbose=0)
            attacked[i] = alive.mean()
            uniform[i] = model.estimate(
                x, y, float(epsilon), bound="global", power_iterations=ITERATIONS, batch_size=BATCH
            ).certified_accuracy
            told(WORDS, 1)
    promise = found.report["guarantee"]
    plots.accuracy_curve(
        path,
        epsilons.tolist(),
        {
            "PGD attack": attacked.tolist(),
            "certified, local": found.report["curve"]["certified_accuracy"],
            "certified, global": uniform.tolist(),
        },
        epsilon=model.epsilon_value,
        footnote=f"{count} test samples of {data.name}; local: {promise}, from certified radii; "
        f"global: {found.report['guarantee_global']}; PGD: {CURVE_PGD_STEPS} steps, seed {seed}",
    )


def _images(model: Any, data: Dataset, found: Measured, path: Path) -> None:
    count = min(SHOWN, len(found.radii))
    rows = found.radii
    plots.image_grid(
        path,
        data.x_test[:count],
        data.y_test[:count],
        found.predictions[:count],
        rows.margin[:count],
        rows.certified[:count],
        radii=None if rows.radius is None else rows.radius[:count],
        class_names=data.class_names,
        epsilon=model.epsilon_value,
        title="Test images, their margins and certified radii",
        footnote=f"The first {count} test images of {data.name}; {found.report['guarantee']}",
    )
