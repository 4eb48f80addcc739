"""The course of a training: one small picture for each quantity."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keraslip.plots.figure import figure, legend
from keraslip.plots.style import BLUE, MUTED, VERMILION
from keraslip.typing import FilePath

# Known quantities in the order in which they are shown; all others follow.
TITLES = {
    "loss": "Loss",
    "accuracy": "Clean accuracy",
    "certified_accuracy": "Certified accuracy",
    "epsilon": "Epsilon",
    "lipschitz": "Lipschitz bound of the logits (mean)",
    "varying": "Share of varying units",
}
PER_CENT = {"accuracy", "certified_accuracy", "varying"}
MARKED_EPOCHS = 20
LOOKS: dict[str, dict[str, Any]] = {
    "training": dict(color=BLUE, linestyle="-", marker="o", markersize=3.5),
    "validation": dict(color=VERMILION, linestyle=(0, (5, 2)), marker="s", markersize=3.5),
}


def training_curves(
    path: FilePath,
    history: Mapping[str, Sequence[float]],
    title: str | None = "Training",
    *,
    footnote: str | None = None,
) -> Path:
    """Draw each quantity of a training history against the epoch.

    Args:
        path: The picture's file, PNG, PDF or SVG by its ending.
        history: One value an epoch under each name, as in the `history` of what `fit` returns.
            `name` and `val_name` share one picture. Shorter lists are taken to be measured every
            few epochs.
        title: First line.
        footnote: Small print.

    Returns:
        `path`.

    Raises:
        ValueError: If the history is empty.
        ImportError: If matplotlib is missing.

    Example:

    ```python
    history = model.fit(x, y, epochs=10, validation_data=(x_val, y_val))
    keraslip.plots.training_curves("training.png", history.history)
    ```
    """
    values = {name: np.asarray(value, "float64") for name, value in history.items()}
    values = {name: value for name, value in values.items() if value.ndim == 1 and value.size}
    if not values:
        raise ValueError(f"`history` must hold at least one epoch. Received: history={history!r}")
    names = _names(values)
    columns = min(len(names), 2 if len(names) == 4 else 3)
    rows = math.ceil(len(names) / columns)
    validated = any(name.startswith("val_") for name in values)
    size, header = (3.6 * columns, 2.5 * rows), 0.34 * validated
    with figure(path, *size, title=title, footnote=footnote, header=header) as picture:
        panels = picture.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        epochs = max(map(len, values.values()))
        for panel, name in zip(panels, names, strict=False):
            _panel(panel, name, values, epochs)
        for panel in panels[len(names) :]:
            panel.axis("off")
        _label_epochs(panels, len(names), columns)
        if validated:
            legend(picture, *({**look, "label": name} for name, look in LOOKS.items()))
    return Path(path)


def _names(values: Mapping[str, Any]) -> list[str]:
    found = list(dict.fromkeys(name.removeprefix("val_") for name in values))
    return [name for name in TITLES if name in found] + [n for n in found if n not in TITLES]


def _panel(axes: Any, name: str, values: Mapping[str, NDArray[np.float64]], epochs: int) -> None:
    scale = 100 if name in PER_CENT else 1
    for key, look in zip((name, f"val_{name}"), LOOKS.values(), strict=True):
        if key in values:
            look = look if epochs <= MARKED_EPOCHS else {**look, "marker": None}
            axes.plot(_epochs(len(values[key]), epochs), scale * values[key], **look)
    axes.set_title(TITLES.get(name, name.replace("_", " ")))
    if name in PER_CENT:
        axes.set_ylim(0, 100)
        axes.yaxis.set_major_formatter("{x:.0f} %")
    elif name != "loss":
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))


def _epochs(count: int, epochs: int) -> NDArray[np.int64]:
    return np.arange(1, count + 1) * max(epochs // count, 1)


def _label_epochs(panels: Any, used: int, columns: int) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, panel in enumerate(panels[:used]):
        panel.xaxis.set_major_locator(
            MaxNLocator(6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        )
        if number + columns >= used:  # nothing below it
            panel.set_xlabel("epoch", color=MUTED)
            panel.tick_params(labelbottom=True)
