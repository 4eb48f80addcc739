"""Clean cross-entropy plus a divergence to the worst case."""

import math
from numbers import Real
from typing import Any

import keras
from keras import ops

from keraslip.losses.gloro_loss import uncertified_logit
from keraslip.losses.robust_loss import RobustLoss, cross_entropy

Tensor = Any


@keras.saving.register_keras_serializable(package="keraslip")
class TradesLoss(RobustLoss):
    """`CE(logits) + beta KL(clean || worst case)`, with a "not certified" class in the worst case.

    The divergence is `KL(softmax([logits, -inf]) || softmax([logits, worst]))`, which is
    `logsumexp([logits, worst]) - logsumexp(logits)`: the log-probability that the added class takes away.

    Args:
        beta: Weight of the divergence, >= 0.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Example:

    ```python
    model.compile("adam", epsilon=1.58, loss=keraslip.losses.TradesLoss(beta=1.5))
    ```

    Reference:

    - Zhang et al., 2019, arXiv 1901.08573 (TRADES).
    - Leino, Wang, Fredrikson, 2021, arXiv 2102.08452, section 5 (its use with a bound).
    """

    def __init__(self, beta: float = 1.0, name: str = "trades_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        number = isinstance(beta, Real) and not isinstance(beta, bool)
        if not number or not 0.0 <= beta < math.inf:
            raise ValueError(f"beta must be a finite number >= 0. Received: beta={beta!r}")
        self.beta = float(beta)

    def per_sample(self, y: Tensor, logits: Tensor, worst: Tensor) -> Tensor:
        extended = ops.concatenate([logits, uncertified_logit(y, worst)], axis=-1)
        divergence = ops.logsumexp(extended, axis=-1) - ops.logsumexp(logits, axis=-1)
        return cross_entropy(y, logits) + self.beta * divergence

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta}
