"""Mixture of clean and worst-case cross-entropy."""

from numbers import Real
from typing import Any

import keras

from keraslip.losses.robust_loss import RobustLoss, cross_entropy
from keraslip.schedules import LinearRamp, Schedule, current
from keraslip.typing import Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class BCPLoss(RobustLoss):
    """`kappa CE(logits) + (1 - kappa) CE(worst-case logits)`, with CE for cross-entropy.

    Args:
        kappa: Weight of the clean loss: a number in [0, 1], or a schedule. Default: from 1 to 0 over the
            first half of the run.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: if `kappa` is neither a number in [0, 1] nor a schedule.

    Example:

    ```python
    model.compile("adam", epsilon=0.25, loss=keraslip.losses.BCPLoss(kappa=0.1))
    ```

    Reference:

    - Lee, Lee, Park, 2020, arXiv 2005.14220 (box constraint propagation), equation 13.
    - Huang et al., 2021, arXiv 2111.01395, section 5.
    """

    def __init__(
        self, kappa: float | Schedule | None = None, name: str = "bcp_loss", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.kappa = LinearRamp(1.0, 0.0) if kappa is None else kappa
        if not isinstance(self.kappa, Schedule):
            number = isinstance(self.kappa, Real) and not isinstance(self.kappa, bool)
            if not number or not 0.0 <= self.kappa <= 1.0:
                raise ValueError(
                    f"kappa must be a number in [0, 1] or a schedule. Received: kappa={kappa!r}"
                )

    def per_sample(self, y: Tensor, logits: Tensor, worst: Tensor) -> Tensor:
        kappa = current(self.kappa)
        return kappa * cross_entropy(y, logits) + (1.0 - kappa) * cross_entropy(y, worst)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kappa": keras.saving.serialize_keras_object(self.kappa)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BCPLoss":
        config = dict(config, kappa=keras.saving.deserialize_keras_object(config["kappa"]))
        return cls(**config)
