"""The page: its sections in order, and the frame around them."""

import base64
from collections.abc import Sequence
from pathlib import Path

from keraslip import __version__
from keraslip.cli.page import figures, tables
from keraslip.cli.page.markup import Markup, element, join
from keraslip.cli.page.run import Run
from keraslip.cli.page.style import CSS
from keraslip.cli.page.svg import swatch
from keraslip.cli.wording import command

READING = """Clean, PGD and certified accuracy are shares of the first test images whose label is right: on
the image, under an attack by projected gradient descent (an upper bound of what is robust), and provably for
every perturbation up to ε (a lower bound). ε is an L2 radius in raw input units. Lipschitz is the mean local
bound of the logits. Norms of layers, and all that is called an estimate, come from power iterations."""
CURVES = "Solid norms leave out units that are constant in the ball of radius ε, dotted ones none."
DASHED = "Dashed: the ε that was trained for, of each run."


def page(runs: Sequence[Run]) -> str:
    """The whole page.

    Args:
        runs: The runs, in the order in which they are shown; one makes a page of its own.

    Returns:
        HTML that refers to nothing outside itself.
    """
    title = f"Report of {runs[0].name}" if len(runs) == 1 else f"Comparison of {len(runs)} runs"
    sections = (_notes, _results, _tested, _training, _layers, _images, _settings)
    head = (
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(CSS)),
    )
    heading = element(
        "header", element("h1", title), element("p", f"keraslip {__version__}", class_="about")
    )
    main = element("main", *(section(runs) for section in sections))
    body = element("body", heading, main)
    return "<!DOCTYPE html>\n" + element("html", element("head", *head), body, lang="en") + "\n"


def _section(key: str, title: str, *children: object) -> Markup:
    return element("section", element("h2", title), *children, id=key)


def _about(text: str) -> Markup:
    return element("p", text, class_="about")


def _legend(runs: Sequence[Run], key: str) -> Markup | None:
    if len(runs) == 1:
        return None
    entries = (
        element("li", swatch(run.number, f"{key}-legend-{run.number}"), run.name) for run in runs
    )
    return element("ul", *entries, class_="legend")


def _figures(*drawn: Markup | None) -> Markup:
    shown = [element("figure", drawing) for drawing in drawn if drawing is not None]
    return element("div", *shown, class_="figures")


def _notes(runs: Sequence[Run]) -> Markup:
    missing = [run for run in runs if run.report is None]
    notes = []
    if missing:
        commands = (element("li", element("code", command("report", run.path))) for run in missing)
        notes.append(
            element(
                "div",
                element("p", "Not measured on the test data yet; comparing does not do it. Run:"),
                element("ul", *commands),
                class_="note",
            )
        )
    if differ := tables.differences(runs):
        text = (
            f"The runs were measured with different {' and '.join(differ)}: their accuracies are "
            "not comparable as they stand."
        )
        notes.append(element("p", text, class_="note"))
    return join(*notes)


def _results(runs: Sequence[Run]) -> Markup:
    return _section("results", "Results on test data", tables.results(runs), _about(READING))


def _tested(runs: Sequence[Run]) -> Markup | None:
    curve, points = figures.certified_curve(runs), figures.trade_off(runs)
    if curve is None and points is None:
        return None
    measured = tables.measured(runs)
    counts = sorted(
        {r["curve"]["samples"] for run in measured if (r := run.report or {}).get("curve")}
    )
    images = " or ".join(map(str, counts))
    text = f"{DASHED} The curves rest on the certified radii of the first {images} test images."
    return _section(
        "accuracy", "Accuracy and ε", _legend(measured, "accuracy"), _figures(curve, points),
        _about(text) if curve else None,
    )  # fmt: skip


def _training(runs: Sequence[Run]) -> Markup | None:
    logged = [run for run in runs if run.log]
    drawn = figures.training(logged)
    if not drawn:
        return None
    text = "Validation at the ε compiled; the training follows its schedule."
    return _section(
        "training", "Training", _legend(logged, "training"), _figures(*drawn), _about(text)
    )


def _layers(runs: Sequence[Run]) -> Markup | None:
    shown = [run for run in tables.measured(runs) if (run.report or {}).get("layers")]
    drawing = figures.layer_norms(shown)
    if drawing is None:
        return None
    is_open = "" if len(runs) == 1 else None
    each = (
        element("details", element("summary", run.name), tables.layers(run), open=is_open)
        for run in shown
    )
    figure = element("figure", drawing, class_="wide")
    return _section(
        "layers", "Norms of the layers", _legend(shown, "layers"), figure, _about(CURVES), *each
    )


def _images(runs: Sequence[Run]) -> Markup | None:
    file = runs[0].path / "images.png"
    if len(runs) > 1 or runs[0].report is None or not file.exists():
        return None
    alt = "test images with their predictions, margins and certified radii"
    figure = element("figure", element("img", src=_embedded(file), alt=alt), class_="wide")
    return _section("images", "Test images", figure)


def _embedded(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode("ascii")


def _settings(runs: Sequence[Run]) -> Markup:
    differ, shared = tables.settings(runs)
    if len(runs) == 1:
        return _section("settings", "Settings", shared)
    return _section(
        "settings",
        "Settings",
        differ,
        element("p", "All runs share:"),
        shared,
    )
