"""Test images with their labels, predictions, margins and certified radii."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keraslip.plots.figure import figure, legend
from keraslip.plots.tile import (
    VERDICTS,
    WRONG,
    Verdict,
    distance,
    draw_image,
    number,
    verdict,
    write_caption,
)
from keraslip.typing import FilePath

# Inches: width and height of a tile, height of the legend, width that the legend needs.
TILE, LEGEND, NARROWEST = (1.38, 1.98), 0.34, 7.0
LINE = 0.18  # inches that one more line below the images needs
MOST = 400  # images; more would make a picture too large to look at


def image_grid(
    path: FilePath,
    x: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike,
    margins: ArrayLike,
    certified: ArrayLike,
    *,
    radii: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    epsilon: float | None = None,
    columns: int = 8,
    title: str | None = "Test images and their margins",
    footnote: str | None = None,
) -> Path:
    """Draw images, each with its label, its prediction, its margin and what they amount to.

    A frame and a symbol tell certified, correct but not certified, and wrong images apart.

    Args:
        path: The picture's file, PNG, PDF or SVG by its ending.
        x: Images in [0, 1] of shape (n, height, width, 1 or 3) or (n, height, width), n <= 400.
        labels: True classes, integers of shape (n,).
        predictions: Predicted classes, integers of shape (n,).
        margins: Worst-case margins of shape (n,): above 0 means that no perturbation up to
            `epsilon` changes the prediction.
        certified: Booleans of shape (n,).
        radii: Certified radii of shape (n,), in the units of the input, or None.
        class_names: Names to show in place of the class numbers.
        epsilon: The radius the margins hold for, named in the legend.
        columns: Images in a row.
        title: First line.
        footnote: Small print: guarantee, seed.

    Returns:
        `path`.

    Raises:
        ValueError: If there is no image, or a shape does not fit.
        ImportError: If matplotlib is missing.

    Example:

    ```python
    found = model.certify(x, radius=True)
    keraslip.plots.image_grid(
        "images.png", x, y, found.label, found.margin, found.certified, radii=found.radius
    )
    ```
    """
    images = checked_images("x", x)
    count = len(images)
    truth = checked_column("labels", labels, count)
    predicted = checked_column("predictions", predictions, count)
    margin = checked_column("margins", margins, count)
    radius = None if radii is None else checked_column("radii", radii, count)
    kinds = list(map(verdict, truth, predicted, checked_column("certified", certified, count)))
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1. Received: columns={columns}")
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    tall = TILE[1] + (0.0 if radius is None else LINE)
    size = max(TILE[0] * columns, NARROWEST), tall * rows
    with figure(path, *size, title=title, footnote=footnote, header=LEGEND) as picture:
        _legend(picture, kinds, epsilon)
        tiles = picture.subplots(rows, columns, squeeze=False).ravel()
        for tile in tiles[count:]:
            tile.axis("off")
        for i in range(count):
            draw_image(tiles[i], images[i], kinds[i])
            label, prediction = (class_name(row[i], class_names) for row in (truth, predicted))
            numbers = [f"margin {number(margin[i])}"]
            if radius is not None:
                numbers.append(f"radius {distance(radius[i])}")
            write_caption(tiles[i], kinds[i], label, prediction, numbers)
    return Path(path)


def checked_images(name: str, x: ArrayLike) -> NDArray[np.float64]:
    """Images of shape (n, height, width, 1 or 3), or a ValueError that names the argument."""
    images = np.asarray(x, "float64")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not 1 <= len(images) <= MOST:
        raise ValueError(
            f"`{name}` must hold 1 to {MOST} images of shape (height, width), (height, width, 1) or "
            f"(height, width, 3). Received: {name} of shape {np.shape(x)}"
        )
    return images


def checked_column(name: str, values: ArrayLike, count: int) -> NDArray[Any]:
    """One value an image, or a ValueError that names the argument."""
    column = np.asarray(values)
    if column.shape != (count,):
        raise ValueError(
            f"`{name}` must hold one value for each of the {count} images. "
            f"Received: {name} of shape {column.shape}"
        )
    return column


def class_name(index: Any, class_names: Sequence[str] | None) -> str:
    """Name of a class, its number if there are no names."""
    return str(index) if class_names is None else str(class_names[int(index)])


def _legend(picture: Any, kinds: list[Verdict], epsilon: float | None) -> None:
    at = "" if epsilon is None else f" at ε = {epsilon:.4g}"
    lines = []
    for kind in VERDICTS:
        label = f"{kind.symbol} {kind.name}{at if kind != WRONG else ''}: {kinds.count(kind)}"
        look = {"color": kind.color, "linestyle": kind.linestyle, "linewidth": 3}
        lines.append({**look, "label": label})
    legend(picture, *lines)
