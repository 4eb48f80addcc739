"""Certified and attacked accuracy against epsilon."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keraslip.plots.figure import figure
from keraslip.plots.style import MUTED, look
from keraslip.typing import FilePath

Curves = dict[str, NDArray[np.float64]]

MARKED_POINTS = 30  # with more, markers would hide the line
LINE_HEIGHT = 5  # of a label, in per cent of the axis


def accuracy_curve(
    path: FilePath,
    epsilons: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    epsilon: float | None = None,
    title: str | None = "Accuracy under perturbations of L2 size up to ε",
    subtitle: str | None = None,
    footnote: str | None = None,
) -> Path:
    """Draw accuracies against epsilon, with a line at the trained one.

    Curves differ in colour, marker and dashes, and each is named at its right end.

    Args:
        path: The picture's file, PNG, PDF or SVG by its ending.
        epsilons: Radii in raw input units, of shape (n,), in rising order.
        curves: Fractions in [0, 1] of shape (n,) under the name to be shown, such as
            `{"PGD attack": ..., "certified, local bound": ...}`. NaN: not measured there; the line
            goes on to the next epsilon that was.
        epsilon: The radius the model was trained for: a vertical line, and, if it is among
            `epsilons`, the accuracies there.
        title: First line.
        subtitle: Second line.
        footnote: Small print: number of samples, guarantee, seed.

    Returns:
        `path`.

    Raises:
        ValueError: If the lengths differ, `epsilons` do not rise, or a value is not a fraction.
        ImportError: If matplotlib is missing.

    Example:

    ```python
    keraslip.plots.accuracy_curve(
        "curve.png", [0.0, 0.25, 0.5], {"certified": [0.97, 0.87, 0.5]}, epsilon=0.25
    )
    ```
    """
    radii, percents = _checked(epsilons, curves)
    with figure(path, 8, 4.2, title=title, subtitle=subtitle, footnote=footnote) as picture:
        axes = picture.add_subplot()
        axes.set(xlabel="ε (L2, raw input units)", ylabel="accuracy", ylim=(0, 100))
        axes.yaxis.set_major_formatter("{x:.0f} %")
        axes.locator_params(axis="x", nbins=8)
        if len(radii) > 1:
            axes.set_xlim(radii[0], radii[-1])
        _draw_lines(axes, radii, percents)
        _name_lines(axes, radii, percents, epsilon)
        if epsilon is not None:
            _mark_trained(axes, epsilon)
    return Path(path)


def _checked(
    epsilons: Sequence[float], curves: Mapping[str, Sequence[float]]
) -> tuple[NDArray[np.float64], Curves]:
    radii = np.asarray(epsilons, "float64")
    if (
        radii.ndim != 1
        or not radii.size
        or not np.isfinite(radii).all()
        or (np.diff(radii) <= 0).any()
    ):
        raise ValueError(
            f"`epsilons` must be finite numbers in rising order. Received: epsilons={epsilons!r}"
        )
    if not curves:
        raise ValueError("`curves` must name at least one curve. Received: curves={}")
    percents = {name: 100 * np.asarray(values, "float64") for name, values in curves.items()}
    for name, values in percents.items():
        if values.shape != radii.shape or (values < 0).any() or (values > 100).any():
            raise ValueError(
                f"Each curve must hold one fraction in [0, 1] for each of the {len(radii)} "
                f"epsilons. Received: curves[{name!r}]={curves[name]!r}"
            )
    return radii, percents


def _draw_lines(axes: Any, radii: NDArray[np.float64], percents: Curves) -> None:
    for index, (name, values) in enumerate(percents.items()):
        known = ~np.isnan(values)
        axes.plot(
            radii[known],
            values[known],
            label=name,
            markevery=None if known.sum() <= MARKED_POINTS else int(known.sum()) // 12,
            clip_on=False,
            zorder=3,
            **look(index),
        )


def _name_lines(
    axes: Any, radii: NDArray[np.float64], percents: Curves, epsilon: float | None
) -> None:
    at = np.flatnonzero(np.isclose(radii, epsilon)) if epsilon is not None else np.array([])
    ends = [_last(values) for values in percents.values()]
    places = spread(ends, LINE_HEIGHT * (2 if at.size else 1))
    for index, (name, values) in enumerate(percents.items()):
        text = name if not at.size else f"{name}\n{values[at[0]]:.1f} % at ε = {epsilon:.4g}"
        color = look(index)["color"]
        axes.annotate(
            text,
            (1, ends[index]),
            (1.045, places[index]),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            color=color,
            fontsize=9.5,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.8, "shrinkA": 2, "shrinkB": 5},
        )


def _last(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known[-1]) if known.size else 0.0


def spread(places: Sequence[float], gap: float) -> list:
    """Move places apart to at least `gap`, keeping their order and, if there is room, 2 to 98."""
    order = np.argsort(places, kind="stable")
    moved = np.array(places, "float64")[order]
    steps = gap * np.arange(len(moved))
    moved = np.maximum.accumulate(moved - steps) + steps
    moved = np.maximum(np.minimum(moved, 98 - steps[::-1]), 2 + steps)
    result = np.empty_like(moved)
    result[order] = moved
    return result.tolist()


def _mark_trained(axes: Any, epsilon: float) -> None:
    axes.axvline(epsilon, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)
    axes.annotate(
        f"trained for ε = {epsilon:.4g}",
        (epsilon, 1),
        (0, 4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        color=MUTED,
    )
