"""Cross-entropy at the point of the ball where the other classes draw level with the label."""

from typing import Any

import keras
from keras import ops

from keraslip.losses.robust_loss import RobustLoss, growth
from keraslip.typing import Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class EMMALoss(RobustLoss):
    """`log sum_j exp(z_j - z_y + t_j g_j)`: each class is raised as far as it takes to draw level.

    z are the clean logits, y is the label, and `g_j = worst_j - z_j` is the most that class j can gain on the
    label in the ball. `t_j = clip((z_y - z_j) / max(g_j, 1e-8), 0.01, 1)`, without gradient, is the share of
    the radius at which class j would draw level with the label. So a class that cannot reach the label inside
    the ball is raised by the whole of `g_j`, and one that is already ahead by hardly anything. Unlike a loss
    on `worst`, it trains well at an epsilon beyond the one to be certified
    (`compile(train_epsilon=1.5 * epsilon)`).

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
