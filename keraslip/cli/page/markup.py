"""HTML from Python: every string is escaped unless it is markup already."""

from html import escape

VOID = {"img", "meta"}


class Markup(str):
    """Text that is HTML."""


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element.

    Args:
        name: Its tag.
        *children: Markup, or anything else, which is escaped; `None` is left out.
        **attributes: A trailing underscore is cut off, others become hyphens; `None` is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def join(*children: object, by: str = "") -> Markup:
    """Children one after the other, escaped where they are not markup."""
    return Markup(
        by.join(c if isinstance(c, Markup) else escape(str(c)) for c in children if c is not None)
    )
