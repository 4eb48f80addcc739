"""Names of a package that are imported when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(
    package: str, names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package; type checkers read imports under `TYPE_CHECKING` beside it.

    For each public name there is the module that defines it; its own module for a module.
    """
    namespace = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(names[name])
        found = module if names[name] == f"{package}.{name}" else getattr(module, name)
        namespace[name] = found
        return found

    def listed() -> list[str]:
        return sorted({*namespace, *names})

    return get, listed
