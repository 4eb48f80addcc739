"""Compiled functions that are kept on a model, for as long as tracing them again would change nothing."""

from collections.abc import Callable
from typing import Any

from keraslip.rules.derived import settle
from keraslip.rules.signature import Signature, signature

#: Where it is kept: in `__dict__`, past the attributes that Keras saves.
NETWORK = "_keraslip_network"
#: What was last found to run as it is certified; it stays true, whatever else is made anew.
PROBED = "_keraslip_probed"
_FUNCTIONS, _TRACED = "_keraslip_functions", "_keraslip_traced"


def kept(model: Any, key: Any, build: Callable[[], Any], again: bool = False) -> Any:
    """What `build` made for this model and key, made again if anything about the model was changed.

    Weights may change: compiled functions read them at every call.

    Args:
        model: Any Keras model.
        key: Name and settings of the function.
        build: Makes it.
        again: Whether to make it in any case.
    """
    settle(model)
    now = signature(model)
    store: tuple[Signature, dict[Any, Any]] | None = model.__dict__.get(_FUNCTIONS)
    if store is None or store[0] != now:
        store = (now, {})
        model.__dict__[_FUNCTIONS] = store
    functions = store[1]
    if again or key not in functions:
        functions[key] = build()
    return functions[key]


def is_stale(
    model: Any, function: str, *more: Any, check: Callable[[Any], None] | None = None
) -> bool:
    """Whether Keras' own compiled function is one of another network; called where Keras asks for it.

    Args:
        model: Any Keras model.
        function: Which one: `"train"`, `"test"` or `"predict"`.
        *more: What it depends on besides the model.
        check: Called with a model that changed; what it raises is raised until the model passes.
    """
    settle(model)
    traced: dict[str, Signature] = model.__dict__.setdefault(_TRACED, {})
    now = signature(model, *more)
    stale = traced.get(function) != now
    if stale and check is not None:
        check(model)
    traced[function] = now
    return stale


def forget(model: Any) -> None:
    """Drops everything that is kept on a model."""
    for name in (NETWORK, _FUNCTIONS, _TRACED):
        model.__dict__.pop(name, None)
