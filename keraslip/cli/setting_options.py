"""A command's options, made from the settings."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

from keraslip.cli.settings import CommonSettings


def with_settings(kind: type[CommonSettings]) -> Callable[..., Any]:
    """Gives a command an option for each setting, in place of its parameter `given`.

    The command gets a dictionary of the settings by name; `None`, for what a user leaves out, comes from the
    recipe.
    """
    hints = get_type_hints(kind, include_extras=True)
    names = [f.name for f in fields(kind)]

    def parameter(name: str) -> inspect.Parameter:
        # What has several forms is written as text.
        plain, option = hints[name].__origin__, hints[name].__metadata__[0]
        annotation: Any = Annotated[(str if plain is Any else plain) | None, option]
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
