"""Code of the user's that a saved model needs: the exporting process imports it, as this one has."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keraslip.files import run_file
from keraslip.rules.registry import registered_rule, rule_for_function
from keraslip.rules.walk import visits


def own_modules(model: Any) -> dict[str, str]:
    """Modules of the user's own layers, rules, losses, initializers and the like, with their files.

    Nothing is run here, and nothing runs there that has not run here. A ValueError names what another process
    could not import.
    """
    things = list(_things(model))
    own = sorted({thing.__name__ for thing in things if thing.__module__ == "__main__"})
    if own:
        raise ValueError(
            "Export runs in a process of its own, which cannot import what a script or notebook defines; "
            f"move it into a module, or export on the TensorFlow backend. Received: {', '.join(own)}"
        )
    names = sorted({thing.__module__ for thing in things})
    known = ("keras", "keraslip", "builtins")
    return {
        name: str(getattr(sys.modules.get(name), "__file__", None) or "")
        for name in names
        if name.split(".")[0] not in known
    }


def import_modules(modules: dict[str, str]) -> None:
    """Imports modules, those that no name leads to from their files."""
    for name, file in modules.items():
        if file and importlib.util.find_spec(name.split(".")[0]) is None:
            run_file(name, Path(file))
        else:
            importlib.import_module(name)


def _things(model: Any) -> Iterator[Any]:
    """Classes and functions that a model is made of."""
    yield from map(type, model._flatten_layers())
    yield type(getattr(model, "robust_loss", model))
    for visit in visits(model):
        function = getattr(visit.operation, "activation", None)
        rules = registered_rule(type(visit.operation)), rule_for_function(function)
        yield from (type(rule) for rule in rules if rule is not None)
    yield from _named(keras.saving.serialize_keras_object(model))


def _named(config: Any) -> Iterator[Any]:
    """Classes and functions that a configuration names."""
    if isinstance(config, dict):
        found = keras.saving.get_custom_objects().get(str(config.get("registered_name")))
        module = sys.modules.get(str(config.get("module")))
        found = found or getattr(module, str(config.get("class_name")), None)
        yield from () if found is None else (found,)
    for part in config.values() if isinstance(config, dict) else config:
        if isinstance(part, dict | list | tuple):
            yield from _named(part)
