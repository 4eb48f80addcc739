"""Formulas as MathML, written when the site is built: a reader's browser needs no script and no network."""

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

#: What `pymdownx.arithmatex` leaves of a formula: inline ones in \(...\), others in \[...\].
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_NUMBER = re.compile(r"\\tag\{([^}]*)\}")
#: Bars of an absolute value or a norm: MathML would take them for relations, with space on both sides.
_BAR = re.compile(r"<mo[^>]*>(&#x0007C;|&#x02016;)</mo>")


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """The page with every formula as MathML; a command that the converter does not know is an error."""
    return _FORMULA.sub(lambda found: mathml(found[1], unescape(found[2]), page.file.src_uri), html)


def mathml(element: str, formula: str, page: str = "") -> str:
    """One formula, with its number where it has one.

    Args:
        element: `span` for a formula inside a line, `div` for one of its own.
        formula: LaTeX.
        page: For the message of an error.
    """
    number = _NUMBER.search(formula)
    written = convert(_NUMBER.sub("", formula), display="block" if element == "div" else "inline")
    written = _BAR.sub(r'<mo lspace="0" rspace="0" stretchy="false">\1</mo>', written)
    if "\\" in written:
        raise ValueError(f"No MathML for a formula of {page}. Received: {formula!r}")
    aside = f'<span class="formula-number">({number[1]})</span>' if number else ""
    return f'<{element} class="formula">{written}{aside}</{element}>'
