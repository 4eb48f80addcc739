"""One image of a grid: its frame, its symbol and its caption."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keraslip.plots.style import BLUE, INK, MUTED, ORANGE, PURPLE


class Verdict(NamedTuple):
    """How a kind of image is shown: never by colour alone."""

    name: str
    symbol: str
    color: str
    text_color: str
    linestyle: Any


CERTIFIED = Verdict("certified", "✓", BLUE, BLUE, "-")
NOT_CERTIFIED = Verdict("correct, not certified", "○", ORANGE, "#8a5a00", (0, (2.6, 0.9)))
WRONG = Verdict("wrong", "✗", PURPLE, PURPLE, (0, (0.8, 0.7)))
VERDICTS = (CERTIFIED, NOT_CERTIFIED, WRONG)


def verdict(label: Any, prediction: Any, certified: Any) -> Verdict:
    """Say what an image's label, prediction and certificate amount to."""
    if label != prediction:
        return WRONG
    return CERTIFIED if certified else NOT_CERTIFIED


def draw_image(axes: Any, image: NDArray[np.float64], kind: Verdict | None) -> None:
    """Show an image of shape (height, width, 1 or 3), in a frame if it has a verdict."""
    pixels = np.clip(image, 0, 1)
    gray = {"cmap": "gray", "vmin": 0, "vmax": 1} if pixels.shape[-1] == 1 else {}
    axes.imshow(pixels[..., 0] if gray else pixels, interpolation="nearest", **gray)
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if kind is not None:
        axes.add_patch(_frame(axes, kind))


def _frame(axes: Any, kind: Verdict) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (0, 0),
        1,
        1,
        transform=axes.transAxes,
        fill=False,
        clip_on=False,
        edgecolor=kind.color,
        linewidth=3.5,
        linestyle=kind.linestyle,
        capstyle="butt",
        joinstyle="miter",
    )


def write_caption(
    axes: Any, kind: Verdict, label: str, prediction: str, numbers: Sequence[str]
) -> None:
    """Write label, prediction and further lines below an image."""
    lines = [
        (f"{kind.symbol} label {short(label)}", kind.text_color, "bold", 8.5),
        (f"predicted {short(prediction)}", INK, "normal", 8),
        *((text, MUTED, "normal", 8) for text in numbers),
    ]
    for row, (text, color, weight, size) in enumerate(lines):
        axes.annotate(
            text,
            (0.5, 0),
            (0, -6 - 13 * row),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="top",
            color=color,
            weight=weight,
            size=size,
        )


def short(name: str) -> str:
    """Cut a long name so that it does not run into the neighbour's."""
    return name if len(name) <= 11 else f"{name[:10]}…"


def number(value: float) -> str:
    """Write a number with its sign, in few letters."""
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        text = "+∞" if value > 0 else "-∞"
    else:
        text = f"{value:+.2f}" if abs(value) < 1000 else f"{value:+.1e}"
    return text.replace("-", "−")


def distance(value: float) -> str:
    """Write a radius, rounded down: what is certified does not reach further."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "unknown"
    return f"{math.floor(1000 * value) / 1000:.3f}"
