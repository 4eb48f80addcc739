"""How the page writes numbers: each stands in a `<data>` element with its exact value."""

from typing import Any

from keraslip.cli.page.markup import Markup, element, join
from keraslip.cli.tables import percent

MISSING = Markup('<span class="missing">–</span>')


def fraction(value: float | None) -> Markup:
    """A fraction in per cent, with one decimal."""
    return MISSING if value is None else element("data", percent(value), value=value)


def number(value: float | None, digits: int = 4) -> Markup:
    """A number with so many significant digits."""
    return MISSING if value is None else element("data", f"{value:.{digits}g}", value=value)


def fixed(value: float | None, decimals: int = 3) -> Markup:
    """A number with so many decimals, for columns that are compared."""
    return MISSING if value is None else element("data", f"{value:.{decimals}f}", value=value)


def duration(seconds: float | None) -> Markup:
    """Seconds, minutes or hours."""
    if seconds is None:
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    return element("data", f"{hours} h {minutes:02} min" if hours else text, value=seconds)


def setting(value: Any) -> Markup:
    """The value of a setting."""
    if value is None:
        return join("default")
    return join(f"{value:.6g}" if isinstance(value, float) else value)
