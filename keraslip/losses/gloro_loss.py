"""Cross-entropy with a "not certified" class."""

from typing import Any

import keras
from keras import ops

from keraslip.losses.robust_loss import RobustLoss
from keraslip.typing import Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class GloRoLoss(RobustLoss):
    """Cross-entropy on the logits and one more class, the largest worst-case logit of another class.

    `CE([z, w], y) = log(sum_j exp(z_j) + exp(w)) - z_y` with z the clean logits, y the label and
    `w = max_j worst_j` over all classes j but y. The label wins against the added class exactly where the
    sample is certified.

    Args:
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Example:

    ```python
    model.compile("adam", epsilon=1.58, loss=keraslip.losses.GloRoLoss())
    ```

    Reference:

    - Leino, Wang, Fredrikson, 2021, arXiv 2102.08452, section 3.
    """

    def __init__(self, name: str = "gloro_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def per_sample(self, y: Tensor, logits: Tensor, worst: Tensor) -> Tensor:
        extended = ops.concatenate([logits, uncertified_logit(y, worst)], axis=-1)
        return ops.logsumexp(extended, axis=-1) - ops.sum(y * logits, axis=-1)


def uncertified_logit(y: Tensor, worst: Tensor) -> Tensor:
    """The largest worst-case logit of a class other than y, `(batch, 1)`."""
    # A finite number instead of infinity: 0 * inf in a gradient is NaN.
    others = ops.where(y > 0.5, ops.full_like(worst, -1e30), worst)
    return ops.max(others, axis=-1, keepdims=True)
