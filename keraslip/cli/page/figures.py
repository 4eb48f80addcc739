"""The drawings of the page; runs are told apart by colour, marker and dashes, and named in its legend."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup

from keraslip.cli.page.run import Run
from keraslip.cli.page.svg import inline_svg
from keraslip.plots.style import MUTED, look

#: With more points, markers would hide the line.
MARKED = 20
#: Panels of the training: column of the log, title, whether it is of the validation, a fraction.
PANELS = (
    ("certified_accuracy", "Certified accuracy, validation (estimate)", True, True),
    ("accuracy", "Clean accuracy, validation", True, True),
    ("lipschitz", "Lipschitz bound, validation (mean, estimate)", True, False),
    ("epsilon", "Epsilon of the training", False, False),
)


def training(runs: Sequence[Run]) -> list[Markup]:
    """Certified and clean accuracy, Lipschitz bound and epsilon of every epoch."""
    drawn = []
    for name, title, validation, fraction in PANELS:
        wanted = [f"val_{name}", name] if validation else [name]
        lines = {run.number: run.column(*wanted) for run in runs}
        lines = {number: line for number, line in lines.items() if line[0]}
        if lines:
            panel = partial(_panel, title=title, lines=lines, fraction=fraction)
            drawn.append(inline_svg(f"training-{name}", title, panel))
    return drawn


def _panel(axes: Any, title: str, lines: dict[int, Any], fraction: bool) -> None:
    """One quantity against the epoch."""
    from matplotlib.ticker import MaxNLocator

    for number, (epochs, values) in lines.items():
        scaled = np.asarray(values) * (100 if fraction else 1)
        axes.plot(epochs, scaled, **_marked(number, len(epochs)))
    axes.set_title(title)
    axes.set_xlabel("epoch")
    longest = max(len(epochs) for epochs, _ in lines.values())
    axes.set_xlim(1 - 0.03 * longest, None)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    if fraction:
        axes.set_ylim(0, 100)
        axes.yaxis.set_major_formatter("{x:.0f} %")
    else:
        axes.set_ylim(bottom=0)


def _marked(number: int, points: int) -> dict[str, Any]:
    return look(number) | {"markevery": max(points // 12, 1) if points > MARKED else 1}


def certified_curve(runs: Sequence[Run]) -> Markup | None:
    """Certified accuracy against epsilon of all runs that have measured it."""
    reports = {run.number: run.report for run in runs if run.report}
    curves = {number: report["curve"] for number, report in reports.items() if report.get("curve")}
    if not curves:
        return None
    trained = sorted({round(reports[number]["epsilon"], 6) for number in curves})

    def draw(axes: Any) -> None:
        for number, curve in curves.items():
            points = np.asarray(curve["epsilon"]), 100 * np.asarray(curve["certified_accuracy"])
            axes.plot(*points, **_marked(number, len(points[0])))
        for epsilon in trained:
            axes.axvline(epsilon, color=MUTED, linewidth=1.1, linestyle=(0, (3, 3)), zorder=1)
        axes.set_title("Certified test accuracy against ε")
        axes.set(xlabel="ε (L2, raw input units)", ylim=(0, 100), xlim=(0, None))
        axes.yaxis.set_major_formatter("{x:.0f} %")
        axes.locator_params(axis="x", nbins=7)

    return inline_svg("curve", "certified test accuracy against epsilon", draw)


def trade_off(runs: Sequence[Run]) -> Markup | None:
    """Clean against certified accuracy; none for a single run."""
    points = {
        run.number: (100 * run.report["clean_accuracy"], 100 * run.report["certified_accuracy"])
        for run in runs
        if run.report
    }
    if len(points) < 2:
        return None

    def draw(axes: Any) -> None:
        for number, point in points.items():
            drawn = look(number) | {"linestyle": "none", "markersize": 9, "zorder": 3}
            axes.plot(*([value] for value in point), **drawn)
        for axis, values in zip("xy", zip(*points.values(), strict=True), strict=True):
            _frame(axes, axis, values)
        axes.set_title("Clean against certified test accuracy")
        axes.set(xlabel="clean accuracy", ylabel="certified accuracy")

    return inline_svg("trade-off", "clean against certified test accuracy", draw)


def _frame(axes: Any, axis: str, values: Sequence[float]) -> None:
    """At least four points wide, so that a tenth of a point does not look like a difference."""
    margin = max(0.15 * (max(values) - min(values)), 2.0)
    getattr(axes, f"set_{axis}lim")(max(min(values) - margin, 0), min(max(values) + margin, 100.5))
    axes.locator_params(axis=axis, nbins=6)
    getattr(axes, f"{axis}axis").set_major_formatter("{x:g} %")


def layer_norms(runs: Sequence[Run]) -> Markup | None:
    """Local and global norm of every layer, by its place in the network."""
    reports = {run.number: run.report for run in runs if run.report}
    rows = {number: report["layers"] for number, report in reports.items() if report.get("layers")}
    if not rows:
        return None
    longest = max(map(len, rows.values()))

    def draw(axes: Any) -> None:
        for number, layers in rows.items():
            # The logits end every network: they stand at the right, however deep it is.
            places = [*range(1, len(layers)), longest]
            local, uniform = (
                np.asarray([row[f"{kind}_norm"] for row in layers], "float64")  # null is NaN
                for kind in ("local", "global")
            )
            hollow = {"markerfacecolor": "white", "markeredgecolor": look(number)["color"]}
            dotted = {"linestyle": ":", "linewidth": 1.3, "markeredgewidth": 1.2}
            axes.plot(places, uniform, **look(number) | hollow | dotted)
            axes.plot(places, local, **look(number) | {"linestyle": "-"})
        axes.set_title("Norm of every layer: local (solid) and global (dotted)")
        axes.set(xlabel="layer", ylim=(0, None), xlim=(0.7, longest + 0.3))
        axes.set_xticks(range(1, longest + 1), [*map(str, range(1, longest)), "logits"])

    return inline_svg("layers", "local and global norm of every layer", draw, width=6.4)
