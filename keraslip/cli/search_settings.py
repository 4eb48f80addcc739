"""All that decides a search, and how the command line writes a search space."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from keraslip.cli.recipes import RECIPES


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search; written to search.json and compared on resume."""

    application: str
    dataset: str
    epsilon: float
    tuner: str
    epochs: int
    batch_size: int
    activation: str
    power_iterations: int
    augment: str | None
    seed: int
    space: list[str]

    @classmethod
    def resolve(
        cls, given: dict[str, Any], stored: dict[str, Any] | None = None
    ) -> "SearchSettings":
        """Settings from what the user gave, what the folder holds and the network's recipe.

        Raises:
            ValueError: for an unknown network, or where given and stored settings differ.
        """
        given = {key: value for key, value in given.items() if value not in (None, [])}
        if stored is not None:
            if changed := {k: v for k, v in given.items() if stored.get(k) != v}:
                raise ValueError(
                    "A search goes on with the settings it began with; only --trials can grow. Leave them "
                    "out, or begin another search with another --out. "
                    f"Received: {changed}, the search has { {k: stored.get(k) for k in changed} }"
                )
            if set(stored) != {f.name for f in fields(cls)}:
                raise ValueError(
                    "The folder holds no settings of this keraslip's searches, so the search cannot be "
                    f"resumed. Received: {', '.join(stored)}"
                )
            return cls(**stored)
        name = given.get("application", "mnist_4c3f")
        if name not in RECIPES:
            raise ValueError(
                f"--application must be one of {', '.join(sorted(RECIPES))}. Received: {name!r}"
            )
        usual = {"tuner": "random", "activation": "clipped_relu", "seed": 0, "space": []}
        known = {f.name for f in fields(cls)}
        recipe = {k: v for k, v in asdict(RECIPES[name]).items() if k in known}
        return cls(**{**usual, **recipe, **given, "application": name})

    def as_dict(self) -> dict[str, Any]:
        """The settings by name."""
        return asdict(self)


def parse_space(entries: list[str]) -> dict[str, Any]:
    """The search space of `--space NAME=VALUE` options.

    Args:
        entries: `"width=0.5:2"` is a range, `"width=0.5,1,2"` are choices, `"width=1"` is fixed,
            `"width=none"` is left out.

    Raises:
        ValueError: if an entry has no name or value.
    """
    space: dict[str, Any] = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        if not name.strip() or not text.strip():
            raise ValueError(
                "--space takes NAME=LOW:HIGH, NAME=A,B,C, NAME=VALUE or NAME=none. "
                f"Received: {entry!r}"
            )
        space[name.strip()] = _parsed(text.strip())
    return space


def _parsed(text: str) -> Any:
    if text.lower() == "none":
        return None
    if ":" in text:
        return tuple(_number(part) for part in text.split(":"))
    if "," in text:
        return [_number(part) for part in text.split(",")]
    return _number(text)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()
