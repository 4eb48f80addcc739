"""Clean against certified accuracy of many models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keraslip.plots.figure import figure, legend
from keraslip.plots.style import MUTED, VERMILION
from keraslip.typing import FilePath

#: The front, and all other models.
_LOOK = dict(color=VERMILION, marker="D", markersize=7, linestyle=(0, (5, 2)), linewidth=1.4)
_DOTS = dict(color=MUTED, marker="o", alpha=0.7)
NAMED = 12  # with more points on the front their names would cover each other


def pareto_front(
    path: FilePath,
    clean: Sequence[float],
    certified: Sequence[float],
    names: Sequence[str] | None = None,
    *,
    epsilon: float | None = None,
    title: str | None = "Clean against certified accuracy",
    subtitle: str | None = None,
    footnote: str | None = None,
) -> Path:
    """Draw each model as a point, and the front: the models that no other one beats in both.

    Args:
        path: The picture's file, PNG, PDF or SVG by its ending.
        clean: Clean accuracies, fractions in [0, 1] of shape (n,).
        certified: Certified accuracies, fractions in [0, 1] of shape (n,).
        names: A name for each model, shown at the points of the front.
        epsilon: The radius of the certificates, for the axis.
        title: First line.
        subtitle: Second line.
        footnote: Small print: number of samples, guarantee, seed.

    Returns:
        `path`.

    Raises:
        ValueError: If the lengths differ or a value is not a fraction.
        ImportError: If matplotlib is missing.

    Example:

    ```python
    keraslip.plots.pareto_front("pareto.png", [0.97, 0.95], [0.85, 0.88], ["a", "b"], epsilon=0.25)
    ```
    """
    points = 100 * _checked(clean, certified, names)
    best = front(points)
    with figure(
        path, 8, 4.6, title=title, subtitle=subtitle, footnote=footnote, header=0.34
    ) as picture:
        axes = picture.add_subplot()
        radius = "" if epsilon is None else f" at ε = {epsilon:.4g}"
        axes.set(xlabel="clean accuracy", ylabel=f"certified accuracy{radius}")
        axes.xaxis.set_major_formatter("{x:g} %")
        axes.yaxis.set_major_formatter("{x:g} %")
        axes.margins(0.08)
        others = np.setdiff1d(np.arange(len(points)), best)
        axes.plot(*points[others].T, **_DOTS, linestyle="", markersize=6, clip_on=False)
        axes.plot(*points[best].T, **_LOOK, clip_on=False, zorder=3)
        if names is not None and len(best) <= NAMED:
            _name(axes, points, names, best)
        best_of = {**_LOOK, "label": "Pareto front: no other is better in both"}
        legend(picture, best_of, {**_DOTS, "linestyle": "", "label": "the others"})
    return Path(path)


def _checked(clean: Any, certified: Any, names: Sequence[str] | None) -> NDArray[np.float64]:
    x, y = np.asarray(clean, "float64"), np.asarray(certified, "float64")
    if x.ndim != 1 or not x.size or x.shape != y.shape or len(names or x) != len(x):
        raise ValueError(
            "`clean`, `certified` and `names` must have one entry for each model. Received: "
            f"clean of shape {x.shape}, certified of shape {y.shape}, names={names!r}"
        )
    points = np.stack([x, y], -1)
    if not ((points >= 0) & (points <= 1)).all():
        raise ValueError(
            "Accuracies must be fractions in [0, 1]. Received: "
            f"clean={clean!r}, certified={certified!r}"
        )
    return points


def front(points: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows of the points (n, 2) that no other point beats, by rising first coordinate."""
    order = np.lexsort(points.T[::-1])
    kept = [
        row
        for row in order
        if not ((points >= points[row]).all(-1) & (points != points[row]).any(-1)).any()
    ]
    return np.array(kept, "intp")


def _name(
    axes: Any, points: NDArray[np.float64], names: Sequence[str], best: NDArray[np.intp]
) -> None:
    for row in best:
        axes.annotate(
            names[row],
            points[row],
            (6, 5),
            textcoords="offset points",
            fontsize=8.5,
            color=VERMILION,
            annotation_clip=False,
        )
