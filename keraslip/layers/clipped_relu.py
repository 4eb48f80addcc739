"""ReLU clipped at a learned threshold."""

from typing import Any

import keras

from keraslip import activations
from keraslip.rules.bases import ActivationRule
from keraslip.rules.linear import full_precision
from keraslip.rules.registry import register_rule
from keraslip.typing import Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class ClippedReLU(keras.layers.Layer):
    """`min(max(x, 0), theta)` with one learned threshold theta for every activation entry.

    A unit whose input stays below 0 or above theta in the whole ball is constant, and drops out of the
    norms of the layers before and after it.

    Args:
        threshold: Initial theta, a number >= 0. It stays >= 0 while training (`non_neg` constraint).
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, ...)` with every other size known.

    Output shape:
        The input's.

    Raises:
        ValueError: if `threshold` is negative or not a finite number.

    Example:

    >>> keraslip.layers.ClippedReLU(threshold=1.0)(keras.ops.array([[-1.0, 0.5, 3.0]]))
    array([[0. , 0.5, 1. ]], dtype=float32)

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4.2.
    """

    def __init__(self, threshold: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = finite_number("threshold", threshold)
        if self.threshold < 0:
            raise ValueError(f"threshold must be >= 0. Received: threshold={threshold}")
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.theta = threshold_weight(
            self, "theta", input_shape, self.threshold, keras.constraints.NonNeg()
        )

    def call(self, inputs: Tensor) -> Tensor:
        return activations.ClippedReLU(self.theta).call(inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}


@register_rule(ClippedReLU)
class ClippedReLURule(ActivationRule):
    """Constant below 0 and above theta."""

    def kind(self, layer: Any) -> activations.ClippedReLU:
        return activations.ClippedReLU(full_precision(layer.theta))


def finite_number(name: str, value: Any) -> float:
    """A finite number as a float, or a ValueError."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, str | bool) or not abs(number) < float("inf"):
        raise ValueError(f"{name} must be a finite number. Received: {name}={value!r}")
    return number


def threshold_weight(
    layer: Any,
    name: str,
    input_shape: tuple[int | None, ...],
    value: float,
    constraint: Any = None,
) -> Any:
    """A trainable threshold for every activation entry, `(1, *shape)`; every size must be known."""
    shape = (1, *input_shape[1:])
    if None in shape:
        raise ValueError(
            f"{type(layer).__name__} learns a threshold for every activation entry, so every size but "
            f"the batch's must be known. Received: input_shape={input_shape}"
        )
    return layer.add_weight(
        name=name,
        shape=shape,
        initializer=keras.initializers.Constant(value),
        constraint=constraint,
    )
