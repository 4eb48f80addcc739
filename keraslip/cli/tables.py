"""The tables of a report, for the terminal and as text."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

from rich.table import Table

#: Digits that no float64 exceeds with its decimals.
_DIGITS = 400


def accuracy_table(report: dict[str, Any]) -> Table:
    """Clean, attacked and certified accuracy, each with what it promises."""
    samples, everything = report["samples"], report["samples_all"]
    table = Table(
        title=f"{report['model']}, {samples} test samples of {report['dataset']}, "
        f"epsilon {report['epsilon']:.4g} ({report['unit']}), seed {report['seed']}",
        title_justify="left",
    )
    table.add_column("accuracy")
    table.add_column("%", justify="right")
    table.add_column("guarantee")
    if everything != samples:
        name = f"clean, all {everything} samples"
        table.add_row(name, percent(report["clean_accuracy_all"]), "measured")
    table.add_row("clean", percent(report["clean_accuracy"]), "measured")
    if report["pgd_accuracy"] is not None:
        attack = (
            f"PGD, {report['pgd_steps']} steps, {report['pgd_samples']} samples: an upper bound"
        )
        table.add_row("attacked", percent(report["pgd_accuracy"]), attack)
    for key, name in (("", "certified, local bound"), ("_global", "certified, global bound")):
        table.add_row(name, percent(report[f"certified_accuracy{key}"]), report["guarantee"])
    return table


def layer_table(report: dict[str, Any]) -> Table:
    """Where the bound is loose: norms of every layer."""
    table = Table(
        title=f"Norms at epsilon {report['epsilon']:.4g}: proved over all inputs; global and local "
        "estimated (power iteration), means over images",
        title_justify="left",
    )
    table.add_column("layer", overflow="fold")
    for column in ("proved", "global", "local", "global / local", "varying", "radius out"):
        table.add_column(column, justify="right")
    for row in report["layers"]:
        local, uniform = row["local_norm"], row["global_norm"]
        table.add_row(
            row["layer"],
            " + ".join(at_most(norm, 3) for norm in row["proved_norms"]),
            f"{uniform:.3f}",
            f"{local:.3f}",
            f"{uniform / local:.2f}" if local else "-",
            f"{row['varying']:.1%}",
            f"{row['radius_out']:.3f}",
        )
    return table


def percent(fraction: float) -> str:
    """A fraction with one decimal."""
    return f"{100 * fraction:.1f}"


def at_least(number: float, places: int) -> str:
    """A certified radius with so many decimals, no larger than it is."""
    return _rounded(number, places, ROUND_FLOOR)


def at_most(number: float, places: int) -> str:
    """A proved norm with so many decimals, no smaller than it is."""
    return _rounded(number, places, ROUND_CEILING)


def reached(number: float) -> str:
    """A certified radius with four digits, no larger than it is."""
    if not math.isfinite(number):
        return f"{number:.4g}"
    return f"{float(Context(4, ROUND_FLOOR).create_decimal(number)):.4g}"


def _rounded(number: float, places: int, way: str) -> str:
    if not math.isfinite(number):
        return f"{number:.{places}f}"
    return str(Decimal(number).quantize(Decimal(1).scaleb(-places), way, Context(_DIGITS)))
