"""The page: what its template shows of the runs."""

import base64
from collections.abc import Sequence
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from keraslip import __version__
from keraslip.cli.page import figures
from keraslip.cli.page.run import Run
from keraslip.cli.page.svg import swatch
from keraslip.cli.tables import at_least, at_most
from keraslip.cli.wording import command

#: What has to be equal for accuracies to be compared.
COMPARED = {
    "dataset": "data sets",
    "epsilon": "epsilon",
    "guarantee": "guarantees",
    "samples": "numbers of images",
}
ACCURACIES = ("clean_accuracy", "pgd_accuracy", "certified_accuracy")


def page(runs: Sequence[Run]) -> str:
    """The whole page."""
    environment = Environment(
        loader=PackageLoader("keraslip.cli.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"command": command, "duration": duration, "swatch": swatch}
    # What is proved is not said to be better than it is.
    environment.globals |= {
        "radius": partial(at_least, places=3),
        "bound": partial(at_most, places=2),
        "norm_up": partial(at_most, places=3),
    }
    title = f"Report of {runs[0].name}" if len(runs) == 1 else f"Comparison of {len(runs)} runs"
    template = environment.get_template("page.html")
    return template.render(title=title, version=__version__, runs=runs, **_content(runs)).lstrip()


def _content(runs: Sequence[Run]) -> dict[str, Any]:
    """What the template asks for, by name."""
    measured = [run for run in runs if run.report]
    reports = [run.report for run in measured if run.report]
    differences = [
        name for key, name in COMPARED.items() if len({str(r.get(key)) for r in reports}) > 1
    ]
    logged = [run for run in runs if run.log]
    layered = [run for run in measured if run.report and run.report.get("layers")]
    settings = list(dict.fromkeys(key for run in runs for key in run.settings))
    differing = [k for k in settings if len({repr(run.settings.get(k)) for run in runs}) > 1]
    return {
        "measured": measured,
        "accuracies": ACCURACIES,
        "differences": differences,
        "best": {} if differences else _best(reports),
        "curve": figures.certified_curve(measured),
        "curve_samples": sorted({r["curve"]["samples"] for r in reports if r.get("curve")}),
        "trade_off": figures.trade_off(measured),
        "logged": logged,
        "training": figures.training(logged),
        "layered": layered,
        "norms": figures.layer_norms(layered),
        "images": _images(runs),
        "differing": differing,
        "shared": [key for key in settings if key not in differing],
        "timed": any("seconds_trained" in report for report in reports),
    }


def _best(reports: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The highest accuracies, where there are several to compare."""
    found = {key: [r[key] for r in reports if r.get(key) is not None] for key in ACCURACIES}
    return {key: max(values) for key, values in found.items() if len(set(values)) > 1}


def _images(runs: Sequence[Run]) -> str | None:
    """The picture of a single run's test images, as base64."""
    file = runs[0].path / "images.png"
    if len(runs) > 1 or not runs[0].report or not file.exists():
        return None
    return base64.b64encode(file.read_bytes()).decode("ascii")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    return f"{hours} h {minutes:02} min" if hours else text
