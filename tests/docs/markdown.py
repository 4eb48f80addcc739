"""Reads the documentation: its pages, its fenced blocks, its links and the names it mentions."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
#: A comment on the line above a block that is shown but not run.
NOT_RUN = "<!-- not run"

_FENCE = re.compile(
    r"^(?P<before>[^\n]*)\n+```(?P<language>\w*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_NAME = re.compile(r"`(keraslip(?:\.\w+)+)(?:\([^`]*\))?`")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: What stands behind the fence.
        code: Its lines.
        line: Number of its first line in the page.
        run: Whether the tests run it.
    """

    language: str
    code: str
    line: int
    run: bool


def blocks(page: Path, language: str) -> list[Block]:
    """The fenced blocks of a language in a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            found["language"],
            found["code"],
            text.count("\n", 0, found.start("code")) + 1,
            not found["before"].startswith(NOT_RUN),
        )
        for found in _FENCE.finditer("\n" + text)
        if found["language"] == language
    ]


def links(page: Path) -> list[str]:
    """The targets of a page's links, without anchors and without addresses on the web."""
    targets = (link.partition("#")[0] for link in _LINK.findall(page.read_text(encoding="utf-8")))
    return [target for target in targets if target and "://" not in target]


def names(page: Path) -> list[str]:
    """The dotted names of keraslip that a page mentions in backquotes."""
    return sorted(set(_NAME.findall(page.read_text(encoding="utf-8"))))
