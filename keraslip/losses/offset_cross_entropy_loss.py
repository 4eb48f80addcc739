"""Cross-entropies with a margin, for networks whose Lipschitz constant is fixed."""

import math
from typing import Any

import keras
from keras import ops

from keraslip.losses.robust_loss import RobustLoss, cross_entropy, number
from keraslip.typing import Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class OffsetCrossEntropyLoss(RobustLoss):
    """`temperature * CE((z - offset e_y) / temperature)`, of the clean logits z alone.

    The label's logit is taken down by `offset` first, so that a sample counts as learned only with that
    margin. For networks that are 1-Lipschitz by construction, where a margin is a radius; the loss does not
    read the bound, so that nothing keeps the Lipschitz constant of another network small.

    Args:
        offset: The margin, >= 0, in units of the logits. `sqrt(2) epsilon` certifies epsilon in a
            1-Lipschitz network.
        temperature: > 0. The smaller, the fewer samples the loss looks at.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: if `offset` or `temperature` is not such a number.

    Example:

    ```python
    loss = keraslip.losses.OffsetCrossEntropyLoss(offset=2**0.5 * epsilon)
    ```

    Reference:

    - Prach, Lampert, 2022, arXiv 2208.03160 (AOL): offset sqrt(2), temperature 1/4.
    """

    def __init__(
        self,
        offset: float = math.sqrt(2.0),
        temperature: float = 0.25,
        name: str = "offset_cross_entropy_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.offset = number("offset", offset, least=0.0)
        self.temperature = number("temperature", temperature, above=0.0)

    def per_sample(self, y: Tensor, logits: Tensor, worst: Tensor) -> Tensor:
        return self.temperature * self._cross_entropy(y, logits)

    def _cross_entropy(self, y: Tensor, logits: Tensor) -> Tensor:
        return cross_entropy(y, (logits - self.offset * y) / self.temperature)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "offset": self.offset, "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="keraslip")
class LogitAnnealingLoss(OffsetCrossEntropyLoss):
    """`T (1 - e^-c)^gamma c` with `c = CE((z - offset e_y) / T)`: the pull fades as a margin grows.

    For networks that are 1-Lipschitz by construction, as `OffsetCrossEntropyLoss`, which it is for
    `gamma=0`. Such a network cannot have a large margin everywhere; the factor keeps it from gaining margin
    on samples that are well learned at the cost of others.

    Args:
        offset: Called xi in the paper, >= 0, in units of the logits.
        temperature: T, > 0.
        gamma: Called beta in the paper, >= 0: how fast the pull fades.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: if an argument is not such a number.

    Example:

    ```python
    loss = keraslip.losses.LogitAnnealingLoss(offset=2.0, temperature=0.75, gamma=5.0)
    ```

    Reference:

    - Lai, Chen, Hsieh, Chen, Wu, 2025 (ICML), arXiv 2505.15174 (BRONet), logit annealing loss.
    """

    def __init__(
        self,
        offset: float = 2.0,
        temperature: float = 0.75,
        gamma: float = 5.0,
        name: str = "logit_annealing_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(offset, temperature, name, **kwargs)
        self.gamma = number("gamma", gamma, least=0.0)

    def per_sample(self, y: Tensor, logits: Tensor, worst: Tensor) -> Tensor:
        loss = super().per_sample(y, logits, worst)
        if self.gamma == 0.0:
            return loss
        # Away from 0, where the power of a small gamma has no gradient.
        wrong = ops.maximum(-ops.expm1(-loss / self.temperature), 1e-7)
        return ops.power(wrong, self.gamma) * loss

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}
