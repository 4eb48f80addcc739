"""What a builder of models can be told."""

import inspect
from collections.abc import Callable
from typing import Any

from keraslip.tuning.space import BUILDER

#: Which thresholds an application's activation has; any other one it refuses.
_THRESHOLDS: dict[str, set[str]] = {
    "clipped_relu": {"threshold"},
    "clipped_maxmin": {"upper_threshold", "lower_threshold"},
    "maxmin": set(),
    "relu": set(),
}


def builder_names(builder: Callable[..., Any]) -> list[str]:
    """The hyperparameters that a builder takes and `functools.partial` has not fixed.

    Raises:
        ValueError: if it cannot be called without other arguments.
    """
    parameters = inspect.signature(builder).parameters
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name: p for name, p in parameters.items() if p.kind in kinds}
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        name
        for name, p in parameters.items()
        if p.kind not in variable
        and p.default is p.empty
        and not (name in named and name in BUILDER)
    ]
    if needed:
        raise ValueError(
            f"The builder is called with {', '.join(BUILDER)}, where its signature names them, and "
            "nothing else; fix its other arguments with functools.partial. "
            f"Received: a builder that needs {', '.join(needed)}"
        )
    activation = named.get("activation")
    without: set[str] = set()
    if activation is not None and activation.default in _THRESHOLDS:
        without = set[str]().union(*_THRESHOLDS.values()) - _THRESHOLDS[activation.default]
    fixed = getattr(builder, "keywords", {})
    return [name for name in BUILDER if name in named and name not in without | set(fixed)]
