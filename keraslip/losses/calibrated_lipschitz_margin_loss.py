"""Cross-entropy on margins in units of the radius, with a price on the Lipschitz constant."""

import math
from typing import Any

import keras
from keras import ops

from keraslip.losses.robust_loss import RobustLoss, growth, number
from keraslip.typing import Tensor

#: Radii beyond this many epsilon are alike.
_FAR = 1e3


@keras.saving.register_keras_serializable(package="keraslip")
class CalibratedLipschitzMarginLoss(RobustLoss):
    """`CE(Q (1 - R_j)) + penalty * max_j g_j^2`: margins in units of the radius.

    `R_j = (z_y - z_j) / g_j` is the certified radius against class j in units of epsilon, with
    `g_j = worst_j - z_j`, epsilon times the Lipschitz constant, held constant: the first part moves the
    logits, the second the constant. `Q = 2 log((1 - p/2) / (p/2))` calibrates the slack: a logistic
    distribution with the share 1 - p of its mass on the width of two radii. Epsilon does not rise while
    training, unless `train_epsilon` says so: of a small one the gradients are too large.

    Args:
        slack: The share p, in (0, 1). Small ones ask for a hard margin; larger ones leave the network free
            to give up samples.
        penalty: Weight of the squared growth, >= 0, called lambda in the paper; here for the growth of the
            logits in the ball, which is epsilon times the Lipschitz constant.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: if an argument is not such a number.

    Example:

    ```python
    model.compile(
        "adam", epsilon=36 / 255, loss=keraslip.losses.CalibratedLipschitzMarginLoss(slack=0.3)
    )
    ```

    Reference:

    - Losch, Omran, Stutz, Fritz, Schiele, 2023, arXiv 2309.06166 (CLL). There the margin is taken in units
      of the Lipschitz constant of each logit and the offset on each logit; here both are of the pair.
    """

    # In units of a radius that rises from 0 the first gradients would be endless, and an optimizer that
    # remembers them takes no further step.
    ramps = False

    def __init__(
        self,
        slack: float = 0.3,
        penalty: float = 1e-3,
        name: str = "calibrated_lipschitz_margin_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.slack = number("slack", slack, above=0.0, below=1.0)
        self.penalty = number("penalty", penalty, least=0.0)

    def per_sample(self, y: Tensor, logits: Tensor, worst: Tensor) -> Tensor:
        ahead, gain = growth(y, logits, worst)
        quantile = 2.0 * math.log((1.0 - self.slack / 2.0) / (self.slack / 2.0))
        # Where nothing can be gained R_j is endless, and so would be its gradient.
        least = ops.maximum(ops.abs(ahead) / _FAR, 1e-8)
        short = 1.0 - ahead / ops.stop_gradient(ops.maximum(gain, least))
        short = ops.where(y > 0.5, ops.zeros_like(short), short)
        # A bound on the root, for squares overflow.
        size = ops.minimum(ops.max(gain, axis=-1), 1e15)
        return ops.logsumexp(quantile * short, axis=-1) + self.penalty * ops.square(size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "slack": self.slack, "penalty": self.penalty}
