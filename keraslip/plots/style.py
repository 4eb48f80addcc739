"""Colours and settings of all pictures."""

from typing import Any

INK, MUTED, GRID = "#1a1a1a", "#5f6368", "#e3e5e8"
# From the palettes of Okabe and Ito and of Tol: told apart by colour-blind readers too.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = (
    "#0072b2",
    "#d55e00",
    "#00805d",
    "#aa3377",
    "#e69f00",
    "#3a9bd1",
)

#: What tells the lines of a picture apart.
COLORS = (BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE)
MARKERS = ("o", "s", "D", "^", "v", "P")
LINES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.4)), (0, (7, 2, 1.5, 2)))


def look(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of a line; the first 36 differ in colour or marker."""
    return {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[(number + number // len(COLORS)) % len(MARKERS)],
        "linestyle": LINES[number % len(LINES)],
        "markersize": 5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.7,
    }


STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 2.0,
    "savefig.dpi": 150,
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
}
