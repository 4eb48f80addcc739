"""ReLU, clipped or not."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip.activations.activation import PAD, Activation, Slopes, clip_roundings
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class ClippedReLU(Activation):
    """`min(max(z, 0), threshold)`.

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4.2 (clipped ReLU, sparsity loss).
    """

    #: Broadcastable to `(1, *shape)`, or `None` for the plain ReLU.
    threshold: Tensor | None = None

    @property
    def roundings(self) -> float:  # type: ignore[override]
        """None, but for a threshold that is no number of float32."""
        return clip_roundings(self.threshold)

    def call(self, z: Tensor) -> Tensor:
        positive = self.arithmetic.relu(z)
        if self.threshold is None:
            return positive
        return self.arithmetic.minimum(positive, self.threshold)

    def slopes(self, z: Tensor, rho: Tensor, hard: bool) -> Slopes:
        xp, theta = self.arithmetic, self.threshold
        constant = rho <= -z
        if theta is not None:
            constant = constant | (rho <= z - theta) | (theta <= 0.0)
        if hard:
            varies = xp.indicator(~constant, z)
            return Slopes(varies, varies)
        one, nothing = xp.ones_like(z), xp.zeros_like(z)
        if theta is None:
            inside, reach, away, nearer = z > 0.0, rho, xp.relu(-z), z
        else:
            inside = (z > 0.0) & (z < theta)
            away = xp.relu(xp.maximum(-z, z - theta))  # distance of z to [0, theta]
            reach, nearer = xp.minimum(rho, theta + away), xp.minimum(z, theta - z)
        soft = xp.minimum((1.0 - xp.divide(away, reach)) * (1.0 + PAD) + PAD, one)
        high = xp.where(constant, nothing, xp.where(inside, one, soft))
        # From inside, the slope is smallest at the far side of the nearer kink.
        least = xp.minimum(xp.divide(nearer, rho) * (1.0 - PAD), one)
        low = xp.where(inside & (rho > 0.0), least, nothing)
        return Slopes(high, xp.where(high > 0.0, one, high), low, high)  # NaN stays NaN

    def support(
        self, c: Tensor, z: Tensor, rho: Tensor, slopes: Slopes
    ) -> tuple[Tensor, Tensor] | None:
        xp, theta = self.arithmetic, np.inf if self.threshold is None else self.threshold
        found, high = super().support(c, z, rho, slopes), slopes.high
        assert found is not None and high is not None
        s, q = found
        at_zero = (z - rho < 0.0) & (z + rho > 0.0)
        at_theta = (z - rho < theta) & (z + rho > theta)
        # Where only the convex kink is in the box a tangent supports from below, the concave from above.
        convex = at_zero & ~at_theta & (c > 0.0) & (high > 0.0)
        concave = at_theta & ~at_zero & (c < 0.0) & (high > 0.0)
        s = xp.where(
            convex,
            xp.indicator(z > 0.0, z),
            xp.where(concave, xp.indicator(z < theta, z), s),
        )
        return s, xp.where(convex | concave, xp.zeros_like(q), q)

    def sparsity(self, lower: Tensor, upper: Tensor) -> Tensor:
        """`mean(relu(upper)) + 0.1 mean(relu(threshold - lower))`."""
        reach = self.mean(self.arithmetic.relu(upper))
        if self.threshold is None:
            return reach
        return reach + 0.1 * self.mean(self.arithmetic.relu(self.threshold - lower))

    def plain(self, shape: tuple[int, ...]) -> dict[str, Any]:
        theta = np.inf if self.threshold is None else self.threshold
        return {"kind": "clipped_relu", "upper": np.broadcast_to(theta, (1, *shape)).reshape(-1)}
