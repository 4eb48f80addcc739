"""Reads a page of `keraslip report` as a strict parser: well formed, identifiers and links, no network."""

import re
from html.parser import HTMLParser

VOID = {"meta", "img"}
#: Elements that load or run something.
LOADING = {
    "script",
    "link",
    "iframe",
    "object",
    "embed",
    "base",
    "video",
    "audio",
    "source",
    "form",
}
#: Attributes that hold an address.
ADDRESSES = {"src", "href", "xlink:href", "srcset", "action", "poster", "background"}


class PageReader(HTMLParser):
    """Collects what is wrong with a page, and what it shows.

    Args:
        text: The page.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: list[str] = []
        self.cells: list[list[str]] = []
        self.values: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.cells = [[" ".join(cell.split()) for cell in row] for row in self.cells]
        self.problems += [f"<{tag}> is never closed" for tag in self._open]
        self.problems += [f"id {i} is there twice" for i in set(self.ids) if self.ids.count(i) > 1]
        self.problems += [f"#{t} leads nowhere" for t in set(self.targets) - set(self.ids)]

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        if tag in LOADING:
            self.problems.append(f"<{tag}> loads or runs something")
        if len({name for name, _ in attrs}) < len(attrs):
            self.problems.append(f"<{tag}> has an attribute twice")
        for name, value in attrs:
            self._attribute(name, value or "")
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag == "data":
            self.values.append((dict(attrs)["value"], ""))

    def handle_endtag(self, tag):
        if not self._open or self._open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self._open[-1:]}, line {self.getpos()[0]}")
        else:
            self._open.pop()

    def handle_data(self, data):
        if self._open[-1:] == ["style"]:
            self._style(data)
            return
        self.text += data
        if "td" in self._open or "th" in self._open:
            self.cells[-1][-1] += data
        if self._open[-1:] == ["data"]:
            value, text = self.values[-1]
            self.values[-1] = (value, text + data)

    def _attribute(self, name, value):
        if name == "id":
            self.ids.append(value)
        if name.startswith("on"):
            self.problems.append(f"{name} runs a script")
        if name in ADDRESSES:
            self._address(value)
        elif not name.startswith("xmlns") and "//" in value:
            self.problems.append(f"{name} holds an address: {value}")
        self._style(value)

    def _style(self, text):
        if "@import" in text:
            self.problems.append("a style sheet is imported")
        for address in re.findall(r"url\(['\"]?([^)'\"]*)", text):
            self._address(address)

    def _address(self, address):
        if address.startswith("#"):
            self.targets.append(address[1:])
        elif not address.startswith("data:image/png;base64,"):
            self.problems.append(f"leads out of the page: {address}")
