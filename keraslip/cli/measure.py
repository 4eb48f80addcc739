"""Clean, attacked and certified accuracy of a model on test data: the table and report.json."""

from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from keraslip import __version__
from keraslip.attacks import accuracy_under_attack
from keraslip.datasets import Dataset

#: Power iterations for each norm in a report.
ITERATIONS = 30
PGD_STEPS = 100


def measure(
    model: Any, data: Dataset, seed: int, attack_samples: int | None = None
) -> dict[str, Any]:
    """Measures a model at its compiled epsilon on the test data.

    Args:
        model: A compiled `LocalLipschitzModel`.
        data: The data set; only its test part is used.
        seed: Seed of the attack.
        attack_samples: How many test images to attack, the first ones; all if `None`.

    Returns:
        The content of report.json; accuracies are fractions.
    """
    epsilon, x, y = model.epsilon_value, data.x_test, data.y_test
    local = model.estimate(x, y, bound="local", power_iterations=ITERATIONS)
    uniform = model.estimate(x, y, bound="global", power_iterations=ITERATIONS)
    attacked = len(x) if attack_samples is None else min(attack_samples, len(x))
    pgd = None
    if attacked:
        pgd = accuracy_under_attack(
            model, x[:attacked], y[:attacked], epsilon, steps=PGD_STEPS, seed=seed
        )
    return {
        "dataset": data.name,
        "model": model.name,
        "epsilon": epsilon,
        "seed": seed,
        "samples": len(x),
        "guarantee": local.guarantee,
        "clean_accuracy": local.accuracy,
        "pgd_accuracy": pgd,
        "pgd_samples": attacked,
        "pgd_steps": PGD_STEPS,
        "certified_accuracy": local.certified_accuracy,
        "certified_accuracy_global": uniform.certified_accuracy,
        "lipschitz": float(local.lipschitz.mean()),
        "lipschitz_global": float(uniform.lipschitz.mean()),
        "power_iterations": ITERATIONS,
        "backend": keras.backend.backend(),
        "versions": {"keraslip": __version__, "keras": keras.__version__},
    }


def print_table(report: dict[str, Any], console: Console) -> None:
    """Prints a report as a table.

    Args:
        report: What `measure` returned.
        console: Where to print.
    """
    title = (
        f"{report['model']} on {report['samples']} test images of {report['dataset']}, "
        f"epsilon {report['epsilon']:.4g} (L2, pixels in [0, 1]), seed {report['seed']}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("accuracy")
    table.add_column("%", justify="right")
    table.add_column("guarantee")
    table.add_row("clean", _percent(report["clean_accuracy"]), "measured")
    if report["pgd_accuracy"] is not None:
        attack = f"PGD, {report['pgd_steps']} steps, {report['pgd_samples']} images: an upper bound"
        table.add_row("attacked", _percent(report["pgd_accuracy"]), attack)
    for key, name in (("", "certified, local bound"), ("_global", "certified, global bound")):
        accuracy = report[f"certified_accuracy{key}"]
        table.add_row(name, _percent(accuracy), report["guarantee"])
    console.print(table)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
