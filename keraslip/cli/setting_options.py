"""A command's options, made from the settings, and the words that settings are described in."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

#: The largest seed of NumPy's older generator, which Keras seeds too.
LARGEST_SEED = 2**32 - 1


def any_of(names: Iterable[str]) -> str:
    """Names as words of help list them."""
    *others, last = names
    return f"{', '.join(others)} or {last}"


def option(help: str | None = None, *flags: str, **limits: Any) -> Any:
    """An option of a setting, whose default the recipe has."""
    # Typer's "<int range>" leaves 80 columns too few for the longest names.
    shown = "N" if limits else None
    return typer.Option(*flags, help=help, show_default=False, metavar=shown, **limits)


def seed_option(help: str, **more: Any) -> Any:
    """An option for a seed. Its range, which is long, is not shown."""
    return typer.Option(help=help, parser=_seed, metavar="N", **more)


def _seed(text: Any) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= LARGEST_SEED:
        raise typer.BadParameter(f"{text} is not an integer from 0 to {LARGEST_SEED}.")
    return number


def with_settings(kind: type[Any]) -> Callable[..., Any]:
    """Gives a command an option for each setting, in place of its parameter `given`.

    The command gets a dictionary of the settings by name; `None`, for what a user leaves out, comes from the
    recipe.
    """
    hints = get_type_hints(kind, include_extras=True)
    names = [f.name for f in fields(kind)]

    def parameter(name: str) -> inspect.Parameter:
        # What has several forms is written as text.
        plain, shown = hints[name].__origin__, hints[name].__metadata__[0]
        annotation: Any = Annotated[(str if plain is Any else plain) | None, shown]
        keyword = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, keyword, default=None, annotation=annotation)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(**values: Any) -> None:
            command(given={name: values.pop(name) for name in names}, **values)

        parameters: list[inspect.Parameter] = []
        for own in inspect.signature(command).parameters.values():
            settings = own.name == "given"
            parameters += (
                [parameter(name) for name in names]
                if settings
                else [own.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
            )
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def flag(name: str) -> str:
    """The option of a setting."""
    return f"--{name.replace('_', '-')}"


def check_choice(name: str, value: Any, known: list[Any]) -> None:
    """Raises unless the value of a setting is among those there are."""
    if value not in known:
        listed = ", ".join("none" if choice is None else str(choice) for choice in known)
        raise ValueError(f"{flag(name)} must be one of {listed}. Received: {value!r}")


#: Initial weights that are drawn, not read from a file.
STARTS = "usual", "orthogonal"


def check_start(start: str) -> None:
    """Raises unless there are such initial weights."""
    if start not in STARTS and not Path(start).exists():
        raise ValueError(
            f"--start must be {', '.join(STARTS)}, a FILE.keras or the folder of a run. There is no file or "
            f"folder {start}."
        )
