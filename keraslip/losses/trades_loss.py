"""Clean cross-entropy plus a divergence to the worst case."""

from typing import Any

import keras
from keras import ops

from keraslip.losses.gloro_loss import uncertified_logit
from keraslip.losses.robust_loss import RobustLoss, cross_entropy, number
from keraslip.typing import Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class TradesLoss(RobustLoss):
    """`CE(logits) + beta KL(clean || worst case)`, with a "not certified" class in the worst case.

    With `w = max_j worst_j` over all classes j but the label, the divergence is
    `KL(softmax([logits, -inf]) || softmax([logits, w])) = logsumexp([logits, w]) - logsumexp(logits)`: the
    log-probability that the added class takes away.

    Args:
        beta: Weight of the divergence, >= 0.
        name: Name of the loss.
        predicted: Take the worst case against the class that the network predicts instead of against the
            label: the second part then asks for robustness alone.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: if `beta` is not a finite number >= 0.

    Example:

    ```python
    model.compile("adam", epsilon=1.58, loss=keraslip.losses.TradesLoss(beta=1.5))
    ```

    Reference:

    - Zhang et al., 2019, arXiv 1901.08573 (TRADES).
    - Leino, Wang, Fredrikson, 2021, arXiv 2102.08452, section 5 (its use with a bound).
    """

    def __init__(
        self,
        beta: float = 1.0,
        name: str = "trades_loss",
        predicted: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.beta = number("beta", beta, least=0.0)
        self.of_prediction = bool(predicted)

    def per_sample(self, y: Tensor, logits: Tensor, worst: Tensor) -> Tensor:
        top = y
        if self.of_prediction:
            top = ops.one_hot(ops.argmax(logits, axis=-1), logits.shape[-1], dtype="float32")
        extended = ops.concatenate([logits, uncertified_logit(top, worst)], axis=-1)
        divergence = ops.logsumexp(extended, axis=-1) - ops.logsumexp(logits, axis=-1)
        return cross_entropy(y, logits) + self.beta * divergence

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta, "predicted": self.of_prediction}
