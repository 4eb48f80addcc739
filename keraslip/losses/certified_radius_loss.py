"""Cross-entropy that also rewards certified radius, for samples that have some but not yet enough."""

from typing import Any

import keras
from keras import ops

from keraslip.losses.robust_loss import RobustLoss, cross_entropy, growth, number
from keraslip.typing import Tensor

#: Radii beyond this many epsilon are alike.
_FAR = 1e4


@keras.saving.register_keras_serializable(package="keraslip")
class CertifiedRadiusLoss(RobustLoss):
    """`CE(z) + weight * (1/t) log sum_j exp(-t R_j)`, the second part for samples that need more radius.

    `R_j = (z_y - z_j) / g_j`, with `g_j = worst_j - z_j` what class j can gain on the label in the ball, is
    the certified radius against class j in units of epsilon; the log-sum-exp is a smooth `-min_j R_j`. It is
    added for samples that are classified correctly and whose smallest R_j is below `radius`: others have
    nothing to gain from it, or have enough.

    Args:
        weight: Called lambda in the paper, >= 0.
        radius: Called r0 in the paper, > 0, here in units of epsilon: 1.5 stands for 1.5 epsilon.
        sharpness: Called t in the paper, > 0, per unit of epsilon.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: if an argument is not such a number.

    Example:

    ```python
    model.compile("adam", epsilon=1.58, loss=keraslip.losses.CertifiedRadiusLoss(radius=1.5))
    ```

    Reference:

    - Fazlyab, Entesari, Roy, Chellappa, 2023 (NeurIPS), arXiv 2310.00116 (certified radius maximisation).
    """

    def __init__(
        self,
        weight: float = 1.0,
        radius: float = 1.5,
        sharpness: float = 10.0,
        name: str = "certified_radius_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.weight = number("weight", weight, least=0.0)
        self.radius = number("radius", radius, above=0.0)
        self.sharpness = number("sharpness", sharpness, above=0.0)

    def per_sample(self, y: Tensor, logits: Tensor, worst: Tensor) -> Tensor:
        ahead, gain = growth(y, logits, worst)
        radii = ops.clip(ahead / ops.maximum(gain, 1e-8), -_FAR, _FAR)
        radii = ops.where(y > 0.5, ops.full_like(radii, _FAR), radii)
        least = ops.min(radii, axis=-1)
        smooth = ops.logsumexp(-self.sharpness * radii, axis=-1) / self.sharpness
        # So put that NaN is not left out.
        out = ops.logical_or(least <= 0.0, least >= self.radius)
        added = ops.where(out, ops.zeros_like(smooth), smooth)
        return cross_entropy(y, logits) + self.weight * added

    def get_config(self) -> dict[str, Any]:
        settings = {"weight": self.weight, "radius": self.radius, "sharpness": self.sharpness}
        return {**super().get_config(), **settings}
