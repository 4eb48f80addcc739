"""`keraslip attack`: accuracy of a saved model under projected gradient descent."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from keraslip.cli.options import (
    BatchSize,
    Code,
    DataDir,
    DatasetName,
    Epsilon,
    Limit,
    Model,
    Seed,
    Split,
)

SHOWN = 8
#: How a picture's name may end.
PICTURES = (".png", ".pdf", ".svg")


def attack(
    model: Model,
    dataset: DatasetName = None,
    epsilon: Epsilon = None,
    split: Split = "test",
    limit: Limit = None,
    steps: Annotated[int, typer.Option(min=1, help="Gradient steps per attack.")] = 100,
    restarts: Annotated[
        int, typer.Option(min=1, help="Attacks per image, from different starts.")
    ] = 1,
    seed: Seed = 0,
    data_dir: DataDir = None,
    code: Code = None,
    batch_size: BatchSize = 256,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Picture of images that fool the model: .png, .pdf, .svg.")
    ] = None,
) -> None:
    """Attack the images of a data set by projected gradient descent in the L2 ball."""
    from keraslip.attacks import pgd_l2
    from keraslip.attacks.checks import range_around
    from keraslip.cli.measure import say_attack
    from keraslip.cli.output import check_file
    from keraslip.cli.run_folder import as_json
    from keraslip.cli.stopping import stopped_with
    from keraslip.cli.subject import Subject
    from keraslip.cli.tables import percent
    from keraslip.files import write_text

    console = Console()
    if out is not None:
        check_file(out)
    if picture is not None:
        check_file(picture, PICTURES, "--picture")
    subject = Subject.load(model, dataset, split, epsilon, limit, data_dir, bounded=False)
    if picture is not None and not subject.are_images:
        raise ValueError(f"--picture draws images; {subject.dataset} holds none. Leave it out.")
    subject.show(console)
    say_attack(console, len(subject.x), steps, restarts)
    options: Any = {"steps": steps, "restarts": restarts, "seed": seed, "batch_size": batch_size}
    options["input_range"] = range_around(subject.x, subject.input_range)
    ball = subject.model, subject.x, subject.y, subject.epsilon
    with stopped_with(console, "Stopped; nothing was written."):
        points = pgd_l2(*ball, verbose=console.is_terminal, **options)
    result, predicted, fooled = _outcome(subject, points, options)
    console.print(
        f"accuracy {percent(result['clean_accuracy'])} % clean, "
        f"{percent(result['pgd_accuracy'])} % under PGD ({steps} steps, {restarts} runs): an upper bound of "
        "the robust accuracy",
        soft_wrap=True,
    )
    if out is not None:
        write_text(out, as_json(result))
    if picture is not None:
        _draw(subject, points, predicted, fooled, picture, console)


def _outcome(subject: Any, points: Any, options: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """What the JSON file says, the classes predicted at the points, and which of them fool the model."""
    import keras
    import numpy as np

    from keraslip import __version__
    from keraslip.attacks.accuracy import correct
    from keraslip.attacks.ball import norms

    model, batch_size = subject.model, options["batch_size"]
    clean, _ = correct(model, subject.x, subject.y, batch_size)
    stays, predicted = correct(model, points, subject.y, batch_size)
    fooled = clean & ~stays
    moved = norms(points - subject.x)[fooled]
    result = subject.describe() | {
        "clean_accuracy": float(np.mean(clean)),
        "pgd_accuracy": float(np.mean(stays)),
        "fooled": int(fooled.sum()),
        "perturbation": float(moved.mean()) if len(moved) else None,
        "guarantee": "measured; an upper bound of the robust accuracy",
        **options,
        "backend": keras.backend.backend(),
        "versions": {"keraslip": __version__, "keras": keras.__version__},
    }
    return result, predicted, fooled


def _draw(
    subject: Any, points: Any, predicted: Any, fooled: Any, picture: Path, console: Console
) -> None:
    from keraslip import plots

    rows = fooled.nonzero()[0][:SHOWN]
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
