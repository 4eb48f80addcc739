"""Rules of Keras' own activations."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keraslip import activations
from keraslip.activations import Activation, ClippedReLU, PiecewiseLinear
from keraslip.rules.bases import ActivationRule, fused_activation
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.linear import full_precision
from keraslip.rules.registry import bare_operation, register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError


@register_rule(keras.layers.Activation)
class ActivationLayerRule(Rule):
    """`Activation("linear")`, and those of functions that have a rule, such as `"relu"`."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        fused_activation(operation)

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        activation = fused_activation(operation)
        return args[0] if activation is None else context.activate(args[0], activation)


@register_rule(
    keras.layers.ReLU, bare_operation(lambda x: keras.activations.relu(x, negative_slope=0.1))
)
class ReLURule(ActivationRule):
    """ReLU, with `max_value` and `negative_slope`; one with a threshold jumps, and is refused."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        if operation.threshold:
            raise UnsupportedLayerError(
                f"it jumps from 0 to {operation.threshold} at its threshold, so that no Lipschitz constant "
                "bounds it; use ReLU() without threshold"
            )

    def kind(self, layer: Any) -> Activation:
        if layer.negative_slope:
            return leaky_relu(layer.negative_slope, layer.max_value)
        return limited_relu(layer.max_value)


def limited_relu(limit: float | None) -> ClippedReLU:
    """ReLU up to a limit, if there is one."""
    return ClippedReLU(None if limit is None else ops.convert_to_tensor(limit, "float32"))


def leaky_relu(slope: float, limit: float | None = None) -> PiecewiseLinear:
    """`slope * z` below 0, and z above it up to a limit."""
    _check_number("the slope", slope)
    if not limit:
        return PiecewiseLinear((0.0,), (float(slope), 1.0 if limit is None else 0.0))
    return PiecewiseLinear((0.0, float(limit)), (float(slope), 1.0, 0.0))


@register_rule(keras.layers.PReLU)
class PReLURule(ActivationRule):
    """A learned slope below 0 for every unit or channel, of any sign and size."""

    def kind(self, layer: Any) -> PiecewiseLinear:
        return PiecewiseLinear((0.0,), (ops.expand_dims(full_precision(layer.alpha), 0), 1.0))


#: Keras' numbers of SELU.
_SELU = activations.ELU(alpha=1.6732632423543772, scale=1.0507009873554805)
#: The functions of `keras.activations` and `keras.ops` by name; each gets the operation, or the function.
FUNCTIONS: dict[str, Callable[[Any], Activation]] = {
    "abs": lambda _: PiecewiseLinear((0.0,), (-1.0, 1.0)),
    "celu": lambda f: _celu(getattr(f, "alpha", 1.0)),
    "elu": lambda f: _elu(getattr(f, "alpha", 1.0)),
    "gelu": lambda f: activations.ApproximateGELU() if _approximates(f) else activations.GELU(),
    "hard_sigmoid": lambda _: PiecewiseLinear((-3.0, 3.0), (0.0, 1.0 / 6.0, 0.0), 0.5),
    "hard_silu": lambda _: activations.HardSiLU(),
    "hard_tanh": lambda _: PiecewiseLinear((-1.0, 1.0), (0.0, 1.0, 0.0)),
    "leaky_relu": lambda f: leaky_relu(getattr(f, "negative_slope", 0.2)),
    "log_sigmoid": lambda _: activations.LogSigmoid(),
    "mish": lambda _: activations.Mish(),
    "relu": lambda _: ClippedReLU(),
    "relu6": lambda _: limited_relu(6.0),
    "selu": lambda _: _SELU,
    "sigmoid": lambda _: activations.Sigmoid(),
    "silu": lambda _: activations.SiLU(),
    "softplus": lambda _: activations.Softplus(),
    "softsign": lambda _: activations.Softsign(),
    "soft_shrink": lambda f: _soft_shrink(float(getattr(f, "threshold", 0.5))),
    "sparse_sigmoid": lambda _: PiecewiseLinear((-1.0, 1.0), (0.0, 0.5, 0.0), 0.5),
    "sparse_plus": lambda _: activations.SparsePlus(),
    "squareplus": lambda f: _squareplus(float(getattr(f, "b", 4.0))),
    "tanh": lambda _: activations.Tanh(),
    "tanh_shrink": lambda _: activations.TanhShrink(),
}


def _approximates(gelu: Any) -> bool:
    """The function of `keras.ops` approximates by default, that of `keras.activations` does not."""
    return bool(getattr(gelu, "approximate", gelu is ops.gelu))


def _elu(alpha: float) -> Activation:
    _check_number("alpha", alpha)
    return activations.ELU(float(alpha))


def _celu(alpha: float) -> Activation:
    return activations.ELU(alpha=float(alpha), width=float(alpha))


def _soft_shrink(threshold: float) -> Activation:
    return PiecewiseLinear((-threshold, threshold), (1.0, 0.0, 1.0))


def _squareplus(b: float) -> Activation:
    _check_number("b", b, 1e-6)
    return activations.Squareplus(b)


def _check_number(name: str, value: float, least: float = -math.inf) -> None:
    """Raises unless a number is finite, and above another one."""
    if not (math.isfinite(value) and value > least):
        above = "" if least == -math.inf else f" above {least:g}"
        raise UnsupportedLayerError(
            f"it has a rule where {name} is a finite number{above}. Received: {value}"
        )


def _spellings(name: str) -> set[Any]:
    """The functions of a name, and the class of their bare operation."""
    found = {getattr(home, name) for home in (keras.activations, ops) if hasattr(home, name)}
    # keras.activations.mish cannot be called in a graph.
    return found | ({bare_operation(getattr(ops, name))} if hasattr(ops, name) else set())


#: Numbers of bare operations that must be above 0.
_ABOVE_ZERO = {
    bare_operation(ops.celu): ("alpha",),
    bare_operation(ops.soft_shrink): ("threshold",),
}
_BY_SPELLING = {one: kind for name, kind in FUNCTIONS.items() for one in _spellings(name)}
_BY_SPELLING |= {
    keras.layers.ELU: FUNCTIONS["elu"],
    keras.layers.LeakyReLU: FUNCTIONS["leaky_relu"],
}


@register_rule(*_BY_SPELLING)
class FunctionRule(ActivationRule):
    """By its name and number, such as ELU's alpha, of any sign: fused, as a layer, or as a bare operation."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        # Of `celu` and `soft_shrink`: below 0 one grows exponentially, and the other one jumps.
        for name in _ABOVE_ZERO.get(type(operation), ()):
            if not getattr(operation, name) > 0.0:
                raise UnsupportedLayerError(
                    f"no Lipschitz constant is known of it unless its {name} is above 0; use one above 0. "
                    f"Received: {name}={getattr(operation, name)!r}"
                )

    def kind(self, layer: Any) -> Activation:
        spelling = type(layer) if type(layer) in _BY_SPELLING else layer
        return _BY_SPELLING[spelling](layer)
