"""The pictures of a run: accuracy against epsilon, test images with their margins, training curves."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from keraslip import plots
from keraslip.attacks import accuracy_under_attack
from keraslip.cli.measure import ITERATIONS
from keraslip.cli.run_folder import RunFolder
from keraslip.datasets import Dataset

#: Radii of the curve, as multiples of the compiled epsilon.
MULTIPLES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
SHOWN = 32
CURVE_SAMPLES = 400
CURVE_PGD_STEPS = 30


def draw(model: Any, data: Dataset, folder: RunFolder, seed: int, console: Console) -> None:
    """Draws curve.png, images.png and, if the folder has a log, training.png.

    Args:
        model: A compiled `LocalLipschitzModel`.
        data: The data set; the first test images are used.
        folder: Where to.
        seed: Seed of the attack.
        console: Where progress goes.
    """
    _curve(model, data, folder.path / "curve.png", seed, console)
    _images(model, data, folder.path / "images.png", seed)
    if rows := folder.history():
        history = {key: [row[key] for row in rows] for key in rows[0] if key != "epoch"}
        plots.training_curves(folder.path / "training.png", history)


def _curve(model: Any, data: Dataset, path: Path, seed: int, console: Console) -> None:
    x, y = data.x_test[:CURVE_SAMPLES], data.y_test[:CURVE_SAMPLES]
    epsilons = [multiple * model.epsilon_value for multiple in MULTIPLES]
    curves: dict[str, list[float]] = {
        "PGD attack": [],
        "certified, local": [],
        "certified, global": [],
    }
    for epsilon in track(epsilons, "accuracy against epsilon", console=console, transient=True):
        attacked = accuracy_under_attack(
            model, x, y, epsilon, steps=CURVE_PGD_STEPS, seed=seed, verbose=0
        )
        curves["PGD attack"].append(attacked)
        for bound in ("local", "global"):
            found = model.estimate(x, y, epsilon=epsilon, bound=bound, power_iterations=ITERATIONS)
            curves[f"certified, {bound}"].append(found.certified_accuracy)
    footnote = (
        f"{len(x)} test images of {data.name}; certified: estimate (power iteration); "
        f"PGD: {CURVE_PGD_STEPS} steps; seed {seed}"
    )
    plots.accuracy_curve(path, epsilons, curves, epsilon=model.epsilon_value, footnote=footnote)


def _images(model: Any, data: Dataset, path: Path, seed: int) -> None:
    x, y = data.x_test[:SHOWN], data.y_test[:SHOWN]
    # Margins of the predicted label: what a user of the model is told.
    found = model.estimate(x, power_iterations=ITERATIONS)
    plots.image_grid(
        path,
        x,
        y,
        found.prediction,
        np.asarray(found.margin, dtype="float64"),
        found.certified,
        class_names=data.class_names,
        epsilon=model.epsilon_value,
        footnote=f"The first {len(x)} test images of {data.name}; {found.guarantee}; seed {seed}",
    )
