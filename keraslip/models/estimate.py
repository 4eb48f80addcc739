"""Bounds of many samples with converged power iterations: estimates for reports and tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip.backend.calls import compiled_once, in_batches
from keraslip.backend.structure import only_input, only_target
from keraslip.checks import check_count, check_inputs, check_labels
from keraslip.models.robust_step import bound_pass
from keraslip.models.state import RefreshedStarts
from keraslip.rules import BOUNDS, Propagation
from keraslip.rules.bounded import check_bounded
from keraslip.rules.locality import Locality


@dataclass(frozen=True)
class Estimate:
    """Bounds estimated by power iteration, which approaches norms from below: no proof.

    Args:
        logits: Clean logits `(n, classes)`.
        worst: Worst-case logits `(n, classes)`.
        margin: The label's logit minus the largest worst-case logit of another class, `(n,)`; NaN where a
            number is not finite.
        lipschitz: Bound on the Lipschitz constant of the logits in the ball, `(n,)`.
        label: The label bounded, `(n,)`.
        epsilon: L2 radius in raw input units.
        bound: `"local"`, `"global"` or `"paper"`.
        power_iterations: Iterations for each norm.
    """

    logits: np.ndarray
    worst: np.ndarray
    margin: np.ndarray
    lipschitz: np.ndarray
    label: np.ndarray
    epsilon: float
    bound: str
    power_iterations: int

    @property
    def prediction(self) -> np.ndarray:
        """Predicted class, `(n,)`."""
        return self.logits.argmax(axis=-1)

    @property
    def certified(self) -> np.ndarray:
        """Whether the label is predicted and every margin is strictly positive and finite, `(n,)`."""
        return self.margin > 0.0

    @property
    def accuracy(self) -> float:
        """Share of samples whose label is predicted."""
        return float(np.mean(self.prediction == self.label))

    @property
    def certified_accuracy(self) -> float:
        """Share of samples that are correct and certified, as far as the estimate goes."""
        return float(np.mean(self.certified))

    @property
    def guarantee(self) -> str:
        """What the numbers promise."""
        return "estimate (power iteration)"


def estimate(
    model: Any,
    x: np.ndarray,
    y: np.ndarray | None,
    epsilon: float,
    bound: str,
    power_iterations: int,
    batch_size: int,
    locality: Locality,
) -> Estimate:
    """See `LocalLipschitzModel.estimate`."""
    if bound not in BOUNDS:
        raise ValueError(f"bound must be one of {BOUNDS}. Received: bound={bound!r}")
    power_iterations = check_count(power_iterations, "power_iterations")
    batch_size = check_count(batch_size, "batch_size")
    check_bounded(model)
    x = check_inputs(only_input(model, x), tuple(model.inputs[0].shape[1:]))
    if y is not None:
        y = check_labels(only_target(model, y), model.outputs[0].shape[-1], len(x))
    call = _bound_function(model, bound, power_iterations, locality)
    arguments = (x,) if y is None else (x, y.astype("int32"))
    logits, worst, margin, lipschitz = in_batches(
        lambda x, *y: call(x, np.float32(epsilon), *y), arguments, min(batch_size, len(x))
    )
    label = logits.argmax(axis=-1) if y is None else y
    return Estimate(logits, worst, margin, lipschitz, label, epsilon, bound, power_iterations)


def _bound_function(model: Any, bound: str, power_iterations: int, locality: Locality) -> Any:
    """The compiled pass, kept on the model for the next call with the same settings."""

    def function(x: Any, epsilon: Any, y: Any = None) -> list[Any]:
        starts = RefreshedStarts(model.warm_starts)
        context = Propagation(epsilon, starts, bound, power_iterations, locality=locality)
        outcome = bound_pass(model, x, y, context)
        return [outcome.logits, outcome.worst, outcome.margin, outcome.lipschitz]

    key = ("estimate", bound, power_iterations, locality)
    return compiled_once(model, key, function)
