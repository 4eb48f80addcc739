"""Images that fool a model: the original, the perturbed one, and what was changed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from keraslip.plots.figure import figure
from keraslip.plots.image_grid import checked_column, checked_images, class_name
from keraslip.plots.style import INK
from keraslip.plots.tile import WRONG, draw_image, short
from keraslip.typing import FilePath

# Inches: width and height of a tile with its caption, width that the heading needs.
TILE, NARROWEST = (1.38, 1.62), 7.0


def adversarial_grid(
    path: FilePath,
    x: ArrayLike,
    attacked: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    title: str | None = "Images that fool the model",
    footnote: str | None = None,
) -> Path:
    """Draw a column for each image: original, perturbed, difference.

    Differences are stretched together, so that the largest change of a pixel is black or white and
    no change is gray; the factor is written beside them.

    Args:
        path: The picture's file, PNG, PDF or SVG by its ending.
        x: Images in [0, 1] of shape (n, height, width, 1 or 3) or (n, height, width), n <= 400.
        attacked: What an attack made of them, of the same shape.
        labels: True classes, integers of shape (n,).
        predictions: Classes predicted for `attacked`, integers of shape (n,).
        class_names: Names to show in place of the class numbers.
        title: First line.
        footnote: Small print: epsilon, attack, seed.

    Returns:
        `path`.

    Raises:
        ValueError: If there is no image, or a shape does not fit.
        ImportError: If matplotlib is missing.

    Example:

    ```python
    attacked = keraslip.attacks.pgd_l2(model, x, y, epsilon=0.25)
    predictions = model.predict(attacked).argmax(axis=1)
    keraslip.plots.adversarial_grid("adversarial.png", x, attacked, y, predictions)
    ```
    """
    before, after = checked_images("x", x), checked_images("attacked", attacked)
    count = len(before)
    if after.shape != before.shape:
        raise ValueError(
            f"`attacked` must have the shape of `x`, {before.shape}. "
            f"Received: attacked of shape {after.shape}"
        )
    truth = checked_column("labels", labels, count)
    predicted = checked_column("predictions", predictions, count)
    change = after - before
    sizes = np.linalg.norm(change.reshape(count, -1), axis=1)
    largest = float(np.abs(change).max()) or 1.0
    stretched = 0.5 + change / (2 * largest)
    size = max(TILE[0] * count, NARROWEST), 3 * TILE[1]
    subtitle = f"original, perturbed, and the difference (0.5 ± {largest:.3g} is black to white)"
    with figure(path, *size, title=title, subtitle=subtitle, footnote=footnote) as picture:
        tiles = picture.subplots(3, count, squeeze=False)
        for i in range(count):
            label, wrong = (class_name(row[i], class_names) for row in (truth, predicted))
            rows = (
                (before[i], None, f"label {short(label)}"),
                (after[i], WRONG, f"predicted {short(wrong)}"),
                (stretched[i], None, f"L2 size {sizes[i]:.3f}"),
            )
            for tile, (image, frame, text) in zip(tiles[:, i], rows, strict=True):
                draw_image(tile, image, frame)
                tile.set_xlabel(text, fontsize=8, color=INK)
    return Path(path)
