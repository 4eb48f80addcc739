"""What a fixed batch of images shows of a model: norms of its layers, and radii. All of it is estimated."""

from typing import Any

import numpy as np

from keraslip.backend.calls import compiled_once
from keraslip.models.explain import explain
from keraslip.models.robust_step import bound_pass
from keraslip.models.state import RefreshedStarts
from keraslip.rules import Propagation

#: Quantiles of the radius that are logged as numbers.
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
#: Radii are searched up to this multiple of epsilon, by so many bisections.
REACH, BISECTIONS = 4.0, 7


class Probe:
    """Measures models on the same samples again and again; compiled once for each model."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray | None, epsilon: float, power_iterations: int
    ) -> None:
        self.x, self.y, self.epsilon = x, y, epsilon
        self.power_iterations = power_iterations

    def measure(self, model: Any) -> tuple[dict[str, float], np.ndarray]:
        """Numbers by tags `what/which`, and radii `(n,)`, with the model's weights of now."""
        scalars = {}
        for row in explain(model, self.x, self.epsilon, self.power_iterations):
            scalars[f"local_norm_estimate/{row.layer}"] = row.local_norm
            scalars[f"global_norm_estimate/{row.layer}"] = row.global_norm
            scalars[f"varying/{row.layer}"] = row.varying
        radii = self.radii(model)
        for quantile, value in zip(QUANTILES, np.quantile(radii, QUANTILES), strict=True):
            scalars[f"radius_estimate/quantile_{quantile:g}"] = float(value)
        return scalars, radii

    def radii(self, model: Any) -> np.ndarray:
        """For each sample a radius at which the margin, by power iteration, is positive: an estimate.

        0 where the label is not predicted; at most `REACH` times epsilon.
        """
        margins = self._margins(model)
        given = (self.x,) if self.y is None else (self.x, self.y)
        low = np.zeros(len(self.x), "float32")
        high = np.full(len(self.x), REACH * (self.epsilon or 1.0), "float32")
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            (margin,) = margins(middle, *given)
            positive = margin > 0  # false for NaN
            low, high = np.where(positive, middle, low), np.where(positive, high, middle)
        return low

    def _margins(self, model: Any) -> Any:
        """The compiled pass, kept on the model for the next epoch and the next run."""
        bound, iterations = model.bound, self.power_iterations

        def margins(epsilon: Any, x: Any, y: Any = None) -> list[Any]:
            starts = RefreshedStarts(model.warm_starts)
            context = Propagation(epsilon, starts, bound, iterations)
            return [bound_pass(model, x, y, context).margin]

        return compiled_once(model, ("margins", bound, iterations), margins)
