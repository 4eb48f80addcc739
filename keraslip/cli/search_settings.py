"""All that decides a search, and how the command line writes a search space."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from keraslip.cli.setting_options import any_of, check_choice
from keraslip.cli.settings import CommonSettings

#: Names of tuners, and of their classes in keras-tuner.
TUNERS = {"random": "RandomSearch", "hyperband": "Hyperband", "bayesian": "BayesianOptimization"}


@dataclass(frozen=True, kw_only=True)
class SearchSettings(CommonSettings):
    """Settings of a search; written to search.json and compared on resume."""

    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of a trial; for hyperband, of the longest.")
    ]
    tuner: Annotated[str, typer.Option(help=f"{any_of(TUNERS)}.")] = "random"
    space: Annotated[
        list[str],
        typer.Option(help="NAME=LOW:HIGH, NAME=A,B,C, NAME=VALUE or NAME=none; may be repeated."),
    ] = field(default_factory=list)

    _KIND = "search", "; only --trials can grow"

    @classmethod
    def _check(cls, given: dict[str, Any]) -> None:
        super()._check(given)
        check_choice("tuner", given.get("tuner", "random"), list(TUNERS))


def parse_space(entries: list[str]) -> dict[str, Any]:
    """The search space of `--space NAME=VALUE` options.

    A value such as `"0.5:2"` is a range, `"0.5,1,2"` are choices, `"1"` is fixed, and `"none"` is left out.
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
