"""What a report consists of: tables, pictures, a page, certificates and report.json."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keraslip import plots
from keraslip.certify.result.table import as_text, build_table
from keraslip.certify.run.global_bound import global_margins
from keraslip.cli.measure import (
    BATCH,
    POINTS,
    Measured,
    curve_epsilons,
    measure,
    withstand,
)
from keraslip.cli.page import load_runs, page
from keraslip.cli.run_folder import CERTIFICATES, CLOCKS, PAGE, PICTURES, RunFolder, as_json
from keraslip.cli.stopping import stopped_with
from keraslip.cli.tables import accuracy_table, layer_table
from keraslip.cli.usual import named_again
from keraslip.cli.wording import command
from keraslip.datasets import Dataset
from keraslip.files import write_text
from keraslip.progress import stages

SHOWN = 32
#: Every tenth point is attacked, and bounded globally.
MEASURED = slice(None, None, 10)
CURVE_PGD_STEPS = 20
WORDS = "attacks at several epsilons"


def write_report(
    model: Any,
    data: Dataset,
    folder: RunFolder,
    seed: int,
    console: Console,
    attack_samples: int | None = None,
    certify_samples: int | None = None,
    more: dict[str, Any] | None = None,
    data_dir: Path | None = None,
) -> None:
    """Measures a model, draws, prints the tables and writes all of it into a run's folder.

    Report.json gets what is in `more`; after Ctrl-C the process ends with status 130.
    """
    settings = folder.settings()
    own = named_again(str(settings.get("application")), "--code")
    data_named = [] if data.name == settings.get("dataset") else ["--data", data.name]
    again = command("report", folder.path, *own, *data_named, data_dir=data_dir)
    with stopped_with(console, f"Stopped. The model is saved; make its report with: {again}"):
        found = measure(model, data, seed, attack_samples, certify_samples, console)
        draw(model, data, folder, found, console)
    report = found.report | (more or {})
    tables = accuracy_table(report), build_table(found.certificates), layer_table(report)
    found.certificates.save(folder.path / CERTIFICATES)
    write_text(folder.path / "report.md", _markdown(as_text(*tables), folder.path))
    (run,) = load_runs([folder.path])
    settings = run.settings | {"backend": report["backend"]}
    shown = replace(run, report=json.loads(as_json(report)), settings=settings)
    write_text(folder.path / PAGE, page([shown]))
    # Last of all: with it the report is whole.
    folder.write_json("report.json", report)
    for table in reversed(tables):
        console.print(table)
    console.print(
        f"report.json, report.md, {PAGE}, {CERTIFICATES} and pictures are in {folder.path}.",
        soft_wrap=True,
    )


def _markdown(tables: str, folder: Path) -> str:
    drawn = [name for name in PICTURES if (folder / name).exists()]
    pictures = "\n\n".join(f"![{Path(name).stem}]({name})" for name in drawn)
    return f"# Report\n\n```text\n{tables}\n```\n\n{pictures}\n"


def draw(model: Any, data: Dataset, folder: RunFolder, found: Measured, console: Console) -> None:
    """Draws curve.png, images.png of images and, if the folder has a log, training.png."""
    curve, images, training = (folder.path / name for name in PICTURES)
    _curve(model, data, found, curve, console)
    if data.are_images:
        _images(model, data, found, images)
    if rows := folder.history():
        history = {
            key: [row[key] for row in rows] for key in rows[0] if key not in ("epoch", *CLOCKS)
        }
        plots.training_curves(training, history)


def _curve(model: Any, data: Dataset, found: Measured, path: Path, console: Console) -> None:
    count, seed = len(found.radii), found.report["seed"]
    x, y = data.x_test[:count], data.y_test[:count]
    epsilons = curve_epsilons(model.epsilon_value)
    attacked, uniform = np.full((2, POINTS), np.nan)
    margins, _ = global_margins(model, x, y, epsilons[MEASURED], BATCH)
    uniform[MEASURED] = [(margin > 0.0).mean() for margin in margins]
    alive = found.predictions[:count] == y
    steps = list(enumerate(epsilons))[MEASURED]
    with stages("curve", True, console) as told:
        told.expect(len(steps))
        for i, epsilon in steps:
            told(WORDS)
            # What is lost in a ball is lost in every larger one.
            alive = withstand(model, x, y, float(epsilon), alive, CURVE_PGD_STEPS, seed, verbose=0)
            attacked[i] = alive.mean()
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
        footnote=f"{count} test samples of {data.name}; certified: {promise}, local from certified radii; "
        f"PGD: {CURVE_PGD_STEPS} steps, seed {seed}",
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
