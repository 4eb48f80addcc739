"""The tables of docs/layers.md, from the registry: `python -m tests.docs.layers_page` writes them."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import keras

import keraslip.models  # noqa: F401 - registers all rules
from keraslip.rules import reasons, registry

PAGE = Path(__file__).parents[2] / "docs" / "layers.md"
START, END = "<!-- tables: from the registry -->", "<!-- end of the tables -->"


def tables() -> str:
    """All tables as Markdown."""
    rules = {operation: rule for operation, rule in registry._RULES.items() if shown(operation)}
    stock = {o: r for o, r in rules.items() if getattr(keras.layers, o.__name__, None) is o}
    own = {o: r for o, r in rules.items() if o.__module__.startswith("keraslip.")}
    bare = {o: r for o, r in rules.items() if o not in stock and o not in own}
    names = sorted({f.__name__ for f in registry._FUNCTIONS if hasattr(f, "__name__")})
    parts = [
        "## Layers of Keras\n\n" + table("layer", rows(stock)),
        "## Layers of keraslip\n\n" + table("layer", rows(own)),
        "## Bare operations\n\nAs `keras.ops` has them, and as signs: `x + y`, `2 * x`, `1 - x`, `x / 255`, "
        "`-x`, `x[:, 1:]`.\n\n" + table("operation", rows(bare)),
        "## Activations by name\n\nAs `activation=` of a layer, `Activation(...)`, and alone: "
        + ", ".join(f"`{name}`" for name in names)
        + ".",
        "## Refused\n\n" + table("layer", refused()).replace("| how the bound passes |", "| why |"),
    ]
    return "\n\n".join(parts)


def shown(operation: type) -> bool:
    """Whether a rule is keraslip's, and not one that a test has registered."""
    return type(registry._RULES[operation]).__module__.startswith("keraslip.")


def rows(rules: dict) -> Iterator[tuple[list[str], str]]:
    """Names that share an explanation, and the explanation."""
    told: dict[str, list[str]] = {}
    for operation, rule in rules.items():
        first = (inspect.getdoc(type(rule)) or "").split("\n\n")[0]
        names = told.setdefault(" ".join(first.split()), [])
        if operation.__name__ not in names:
            names.append(operation.__name__)
    return ((sorted(names), first) for first, names in told.items())


def refused() -> Iterator[tuple[list[str], str]]:
    """Names that share a reason, and the reason."""
    return ((sorted(names), reason) for reason, names in reasons._REASONS.items())


def table(kind: str, found: Iterator[tuple[list[str], str]]) -> str:
    """A table of two columns, in the order of the names."""
    lines = sorted(f"| {', '.join(f'`{n}`' for n in names)} | {says} |" for names, says in found)
    return "\n".join([f"| {kind} | how the bound passes |", "|---|---|", *lines])


def with_tables(page: str) -> str:
    """The page with the tables of today."""
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
