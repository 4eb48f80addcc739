"""Base of the losses on clean and worst-case logits."""

from abc import ABC, abstractmethod
from typing import Any

import keras
from keras import ops

Tensor = Any


class RobustLoss(keras.losses.Loss, ABC):
    """A Keras loss on `(y, (logits, worst-case logits))`: override `per_sample`.

    Labels may be class indices `(batch,)` or `(batch, 1)`, or one-hot `(batch, K)`. Losses are per sample:
    no sample's loss depends on another, and sample weights work as for every Keras loss.

    Args:
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.
    """

    def call(self, y_true: Tensor, y_pred: tuple[Tensor, Tensor]) -> Tensor:
        logits, worst = y_pred
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
    """Class indices or one-hot labels as one-hot float32 `(batch, classes)`.

    Args:
        y: `(batch,)` or `(batch, 1)` class indices, or `(batch, classes)` one-hot.
        classes: Number of classes.
    """
    if len(y.shape) == 2 and y.shape[-1] == classes and classes > 1:
        return ops.cast(y, "float32")
    return ops.one_hot(ops.cast(ops.reshape(y, (-1,)), "int32"), classes, dtype="float32")


def cross_entropy(y: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of each sample, from logits; `(batch,)`."""
    return ops.logsumexp(logits, axis=-1) - ops.sum(y * logits, axis=-1)
