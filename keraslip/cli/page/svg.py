"""matplotlib figures as SVG inside a page: its colours, its fonts, no identifier twice."""

import io
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from markupsafe import Markup

from keraslip.plots.style import COLORS, GRID, INK, MUTED, STYLE, look

#: Colours of matplotlib, and the variables of the page's style sheet that take their place.
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", "#ffffff": "paper"} | {
    color: f"run-{number}" for number, color in enumerate(COLORS)
}


def inline_svg(key: str, label: str, draw: Callable[[Any], None], width: float = 4.8) -> Markup:
    """Draws one set of axes as an `<svg>` element, its width in inches and 3 of them high.

    The key, a name of its own for each drawing of a page, begins every identifier in it.
    """
    return _for_page(_drawn(draw, width, height=3.0), key, label)


def _drawn(draw: Callable[[Any], None], width: float, height: float) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the same picture whatever style the user works with
        settings: Any = matplotlib.rcParams
        settings.update(STYLE | {"svg.hashsalt": "keraslip", "font.size": 9.5})
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        text = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    return text.getvalue()


def _for_page(text: str, key: str, label: str) -> Markup:
    text = text[text.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', text)
    inner = text[text.index(">") + 1 :]
    assert box is not None
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.DOTALL)
    inner = re.sub(r'\bid="', f'id="{key}-', inner)
    inner = re.sub(r"url\(#", f"url(#{key}-", inner)
    inner = re.sub(r'xlink:href="#', f'href="#{key}-', inner)
    inner = inner.replace("'DejaVu Sans'", "'DejaVu Sans', system-ui, sans-serif")
    for color, variable in VARIABLES.items():
        inner = inner.replace(color, f"var(--{variable})")
    opening = Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(box[1], label)
    return opening + Markup(inner.strip())


def swatch(number: int, key: str) -> Markup:
    """A piece of a run's line."""
    return _for_page(_swatch(number), key, f"line of run {number + 1}")


@cache
def _swatch(number: int) -> str:
    def draw(axes: Any) -> None:
        axes.set_axis_off()
        axes.plot([0, 1, 2], [0, 0, 0], markevery=[1], clip_on=False, **look(number))
        axes.set(xlim=(-0.1, 2.1), ylim=(-1, 1))

    return _drawn(draw, width=0.55, height=0.18)
