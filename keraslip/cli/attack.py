"""`keraslip attack`: accuracy of a saved model under projected gradient descent."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from keraslip import __version__, plots
from keraslip.attacks import pgd_l2
from keraslip.attacks.accuracy import correct
from keraslip.attacks.ball import norms
from keraslip.cli.measure import say_attack
from keraslip.cli.output import check_file
from keraslip.cli.run_folder import as_json, write_text
from keraslip.cli.subject import Subject
from keraslip.cli.tables import percent

SHOWN = 8
#: How a picture's name may end.
PICTURES = (".png", ".pdf", ".svg")


def run_attack(
    load: dict[str, Any],
    options: dict[str, Any],
    out: Path | None,
    picture: Path | None,
    console: Console,
) -> None:
    """Attacks, prints the accuracy, and writes JSON and a picture if asked for.

    Args:
        load: Arguments of `Subject.load`.
        options: Steps, restarts, seed and batch size of `pgd_l2`.
        out: The JSON file, or `None`.
        picture: The picture of images that fool the model, or `None`.
        console: Where to print.

    Raises:
        ValueError: for a bad option.
        OSError: if there is no such model, or a file cannot be written.
    """
    if out is not None:
        check_file(out)
    if picture is not None:
        check_file(picture, PICTURES, "--picture")
    subject = Subject.load(**load)
    console.print(str(subject), soft_wrap=True)
    say_attack(console, len(subject.x), options["steps"], options["restarts"])
    try:
        points = pgd_l2(
            subject.model,
            subject.x,
            subject.y,
            subject.epsilon,
            verbose=console.is_terminal,
            **options,
        )
    except KeyboardInterrupt:
        console.print("\nStopped; nothing was written.")
        raise SystemExit(130) from None
    clean, _ = correct(subject.model, subject.x, subject.y, options["batch_size"])
    stays, predicted = correct(subject.model, points, subject.y, options["batch_size"])
    fooled = clean & ~stays
    report = subject.describe() | {
        "clean_accuracy": float(np.mean(clean)),
        "pgd_accuracy": float(np.mean(stays)),
        "fooled": int(fooled.sum()),
        "perturbation": float(norms(points - subject.x)[fooled].mean()) if fooled.any() else None,
        "guarantee": "measured; an upper bound of the robust accuracy",
        **options,
        "input_range": subject.model.input_range if subject.model.compiled else (0.0, 1.0),
        "backend": keras.backend.backend(),
        "versions": {"keraslip": __version__, "keras": keras.__version__},
    }
    console.print(
        f"accuracy {percent(report['clean_accuracy'])} % clean, "
        f"{percent(report['pgd_accuracy'])} % under PGD ({options['steps']} steps, "
        f"{options['restarts']} runs): an upper bound of the robust accuracy",
        soft_wrap=True,
    )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, as_json(report))
    if picture is not None:
        _draw(subject, points, predicted, fooled, picture, console)


def _draw(
    subject: Subject,
    points: np.ndarray,
    predicted: np.ndarray,
    fooled: np.ndarray,
    picture: Path,
    console: Console,
) -> None:
    rows = np.flatnonzero(fooled)[:SHOWN]
    if not len(rows):
        console.print("No image fools the model, so there is no picture to draw.")
        return
    plots.adversarial_grid(
        picture,
        subject.x[rows],
        points[rows],
        subject.y[rows],
        predicted[rows],
        class_names=subject.class_names,
        footnote=f"The first {len(rows)} of {fooled.sum()} images that fool the model, of "
        f"{len(subject.x)} {subject.split} images of {subject.dataset}; epsilon {subject.epsilon:.4g}",
    )
