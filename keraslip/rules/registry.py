"""Which rule belongs to which layer type: by exact type, never by inheritance."""

from collections.abc import Callable
from typing import Any, TypeVar

import keras

from keraslip.rules.reasons import reason_against
from keraslip.rules.rule import MismatchError, Rule, UnsupportedLayerError, check_methods

_RULES: dict[type, Rule] = {}
#: What each of these types was called by when its rule was registered.
_CALLS: dict[type, Any] = {}
#: Rules of the functions that layers take as `activation`.
_FUNCTIONS: dict[Any, Rule] = {}
R = TypeVar("R", bound=type[Rule])


def register_rule(*operations: Any) -> Callable[[R], R]:
    """Class decorator that registers a `Rule` for layer types.

    Types are matched exactly: a subclass with another `call` needs a rule of its own.

    Args:
        *operations: Layer classes, classes of bare operations such as `x + y`, or functions that layers
            take as `activation`; of these the rule is an `ActivationRule`, whose `kind` gets the function.

    Returns:
        The decorator.

    Raises:
        ValueError: if one of them has a rule already.

    Example:

    ```python
    @keraslip.register_rule(Negate)
    class NegateRule(keraslip.rules.LinearRule):
        def linear_map(self, layer, in_shape):
            return keraslip.linear.DiagonalMap(keras.ops.full((1,), -1.0), in_shape)
    ```
    """

    def register(rule: R) -> R:
        for operation in operations:
            known = _RULES if isinstance(operation, type) else _FUNCTIONS
            if operation in known:
                raise ValueError(
                    f"{operation.__name__} already has the rule {type(known[operation]).__name__}. "
                    f"Received: {rule.__name__}"
                )
            known[operation] = rule()
            if isinstance(operation, type):
                _CALLS[operation] = getattr(operation, "call", None)
        return rule

    return register


def rule_for(operation: Any, path: str | None = None) -> Rule:
    """The `Rule` of a layer or bare operation, its settings checked.

    An UnsupportedLayerError names the layer by its path, and the remedy.
    """
    where = f"{type(operation).__name__} at {path or operation.name!r}"
    rule = _RULES.get(type(operation))
    reason = reason_against(type(operation))
    if rule is None and reason is not None:
        raise UnsupportedLayerError(
            f"No bound can pass {where}: {reason}, or a layer of your own with "
            f"@keraslip.register_rule. Received: {type(operation).__name__}"
        )
    if rule is None:
        raise UnsupportedLayerError(
            f"No rule carries a Lipschitz bound through {where}. Remedy: replace the layer, or write a "
            f"rule with @keraslip.register_rule({type(operation).__name__}). "
            f"Received: {type(operation).__module__}.{type(operation).__qualname__}"
        )
    try:
        check_as_registered(operation)
        rule.check(operation)
    except UnsupportedLayerError as error:
        raise type(error)(f"No bound can pass {where}: {error}.") from None
    return rule


def check_as_registered(operation: Any) -> None:
    """Raises for a layer whose `call` is no longer the one that its rule is about."""
    check_methods(operation)
    kind = type(operation)
    if kind in _CALLS and getattr(kind, "call", None) is not _CALLS[kind]:
        raise MismatchError(
            f"the call of {kind.__name__} was replaced after its rule was registered, so that the rule says "
            "nothing of what it computes; write a class of your own, and its rule with "
            f"@keraslip.register_rule. Received: {getattr(kind, 'call', None)!r}"
        )


def registered_rule(operation: type) -> Rule | None:
    """The rule of a layer type, `None` if it has none; its settings are not checked."""
    return _RULES.get(operation)


def bare_operation(build: Callable[[Any], Any]) -> type:
    """The class of a bare operation in a graph, such as `x + y`, which has no public name."""
    operation = build(keras.KerasTensor((None, 1)))._keras_history.operation
    return type(operation)


def rule_for_function(function: Any) -> Rule | None:
    """The rule of what a layer takes as `activation`: a function, or a layer; `None` if it has none."""
    if function in _FUNCTIONS:
        return _FUNCTIONS[function]
    return _RULES.get(type(function))
