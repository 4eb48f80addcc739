"""What the pictures share: a figure without global state, its heading, and safe writing."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keraslip.files import whole
from keraslip.plots.style import INK, MUTED, STYLE
from keraslip.typing import FilePath

# Inches: around everything, height of a line of each kind, space above the small print.
MARGIN, TITLE, SUBTITLE, SMALL_PRINT, GAP = 0.12, 0.28, 0.24, 0.17, 0.1
LETTERS_PER_INCH = 14  # of the small print


@contextmanager
def figure(
    path: FilePath,
    width: float,
    height: float,
    *,
    title: str | None = None,
    subtitle: str | None = None,
    footnote: str | None = None,
    header: float = 0.0,
) -> Iterator[Any]:
    """Give a new matplotlib figure and write it to `path` when the block ends well.

    Missing folders are made, and the file appears under its name only when it is whole. Width and height are
    those, in inches, of what is drawn, without title, footnote and the header that holds a legend.

    Yields:
        A `matplotlib.figure.Figure`; pyplot and its global list of figures are not touched.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "keraslip[plots]"') from error
    small_print = _wrapped(footnote, width)
    subtitles = _wrapped(subtitle, width)
    above = MARGIN + TITLE * bool(title) + SUBTITLE * len(subtitles) + header
    below = MARGIN + SMALL_PRINT * len(small_print) + GAP * bool(small_print)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the same picture whatever style the user works with
        settings: Any = matplotlib.rcParams
        settings.update(STYLE)
        whole = height + above + below
        inner = (MARGIN / width, below / whole, 1 - 2 * MARGIN / width, height / whole)
        new = Figure(figsize=(width, whole), layout=ConstrainedLayoutEngine(rect=inner))
        top = whole - MARGIN
        _write(new, top, [title] if title else [], TITLE, size=13, color=INK, weight="bold")
        _write(new, top - TITLE * bool(title), subtitles, SUBTITLE, size=10, color=MUTED)
        _write(new, below - GAP, small_print, SMALL_PRINT, size=8.5, color=MUTED)
        yield new
        _save(new, Path(path))


def _wrapped(text: str | None, width: float) -> list[str]:
    return textwrap.wrap(text, int(width * LETTERS_PER_INCH)) if text else []


def _write(figure: Any, top: float, lines: list[str], spacing: float, **font: Any) -> None:
    width, height = figure.get_size_inches()
    for number, line in enumerate(lines):
        y = (top - spacing * number) / height
        figure.text(MARGIN / width, y, line, ha="left", va="top", **font)


def legend(figure: Any, *lines: dict[str, Any]) -> None:
    """Write a legend of one row into the header: for each line its label and looks."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **line) for line in lines]
    left, bottom, _, height = figure.get_layout_engine().get()["rect"]
    shown = figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(left, bottom + height),
        ncols=len(handles),
        borderaxespad=0,
        borderpad=0.4,
        handlelength=2.2,
        frameon=False,
        fontsize=9.5,
    )
    shown.set_in_layout(False)


def _save(figure: Any, path: Path) -> None:
    image_format = path.suffix.lstrip(".").lower()
    supported = figure.canvas.get_supported_filetypes()
    if image_format not in supported:
        endings = ", ".join(f".{name}" for name in sorted(supported))
        raise ValueError(f"`path` must end in one of {endings}. Received: path={str(path)!r}")
    with whole(path) as partial:
        figure.savefig(partial, format=image_format)
