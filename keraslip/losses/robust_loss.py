"""Base of the losses on clean and worst-case logits."""

import math
from abc import ABC, abstractmethod
from numbers import Real
from typing import Any

import keras
from keras import ops

from keraslip.typing import Tensor


class RobustLoss(keras.losses.Loss, ABC):
    """A Keras loss on `(y, (logits, worst-case logits))`: override `per_sample`.

    Labels may be class indices `(batch,)` or `(batch, 1)`, or one-hot `(batch, K)`. Losses are per sample:
    no sample's loss depends on another, and sample weights work as for every Keras loss. They are computed in
    float32, whatever the loss' `dtype`.

    Args:
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.
    """

    #: Whether the worst-case logits that it reads are those for the predicted class, not for the label.
    of_prediction = False
    #: Whether epsilon rises from 0 while training, unless `train_epsilon` says otherwise.
    ramps = True

    def call(self, y_true: Tensor, y_pred: tuple[Tensor, Tensor]) -> Tensor:
        # In half precision small numbers that guard quotients would be 0, and large ones infinite.
        logits, worst = (ops.cast(part, "float32") for part in y_pred)
        return self.per_sample(one_hot_labels(y_true, logits.shape[-1]), logits, worst)

    @abstractmethod
    def per_sample(self, y: Tensor, logits: Tensor, worst: Tensor) -> Tensor:
        """The loss of each sample.

        Args:
            y: One-hot labels `(batch, K)`.
            logits: Clean logits `(batch, K)`.
            worst: Worst-case logits `(batch, K)`.

        Returns:
            Tensor `(batch,)`.
        """


def one_hot_labels(y: Tensor, classes: int) -> Tensor:
    """Class indices `(batch,)` or `(batch, 1)`, or one-hot labels, as one-hot float32 `(batch, classes)`."""
    if len(y.shape) == 2 and y.shape[-1] == classes and classes > 1:
        return ops.cast(y, "float32")
    return ops.one_hot(ops.cast(ops.reshape(y, (-1,)), "int32"), classes, dtype="float32")


def cross_entropy(y: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of each sample, from logits; `(batch,)`."""
    return ops.logsumexp(logits, axis=-1) - ops.sum(y * logits, axis=-1)


def growth(y: Tensor, logits: Tensor, worst: Tensor) -> tuple[Tensor, Tensor]:
    """How far every class lies behind the label, and what it can gain on it in the ball.

    Args:
        y: One-hot labels `(batch, K)`.
        logits: Clean logits z, `(batch, K)`.
        worst: Worst-case logits, `(batch, K)`.

    Returns:
        `z_y - z_j` and `worst_j - z_j`, `(batch, K)`; both 0 for the label.
    """
    return ops.sum(y * logits, axis=-1, keepdims=True) - logits, worst - logits


def number(
    name: str,
    value: Any,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """An argument of a loss as a float, or a ValueError unless it lies within these limits."""
    real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if real and value >= least and above < value < below:
        return float(value)
    bounds = (f">= {least:g}" if least > -math.inf else "", f"> {above:g}" if above > -math.inf else "",
              f"< {below:g}" if below < math.inf else "")  # fmt: skip
    limits = " and ".join(bound for bound in bounds if bound)
    raise ValueError(f"{name} must be a finite number {limits}. Received: {name}={value!r}")
