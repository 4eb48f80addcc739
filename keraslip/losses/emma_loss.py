"""Cross-entropy at the point of the ball where the classes that could win just do."""

from typing import Any

import keras
from keras import ops

from keraslip.losses.robust_loss import RobustLoss, growth
from keraslip.typing import Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class EMMALoss(RobustLoss):
    """Cross-entropy on `z_j - z_y + t_j g_j`: classes are pushed as far as they come.

    With `g_j = worst_j - z_j`, what class j can gain on the label in the ball,
    `t_j = clip((z_y - z_j) / g_j, 0.01, 1)`, without gradient: the share of the radius at which class j
    would draw level with the label. A class that cannot reach the label inside of the ball is thus pushed by
    the whole of `g_j`, and one that is already ahead by hardly any. Unlike a loss on `worst`, it trains well
    at an epsilon beyond the one to be certified (`compile(train_epsilon=1.5 * epsilon)`).

    Args:
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Example:

    ```python
    model.compile("adam", epsilon=1.58, loss=keraslip.losses.EMMALoss())
    ```

    Reference:

    - Hu, Zou, Wang, Leino, Fredrikson, 2023, arXiv 2301.12549 (EMMA: efficient margin maximisation).
    """

    #: Least share of the radius.
    _LEAST = 0.01

    def __init__(self, name: str = "emma_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def per_sample(self, y: Tensor, logits: Tensor, worst: Tensor) -> Tensor:
        ahead, gain = growth(y, logits, worst)
        share = ops.clip(ahead / ops.maximum(gain, 1e-8), self._LEAST, 1.0)
        return ops.logsumexp(ops.stop_gradient(share) * gain - ahead, axis=-1)
