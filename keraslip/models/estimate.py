"""What a model estimates by power iteration: bounds of samples, and where they come from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip.backend.calls import compiled_once, in_batches
from keraslip.backend.structure import only_input, only_target
from keraslip.checks import check_count, check_epsilon, check_inputs, check_labels
from keraslip.input_range import tell_outside
from keraslip.models.explain import LayerBound, explain, print_table
from keraslip.models.robust_step import bound_pass
from keraslip.models.state import RefreshedStarts
from keraslip.rules import BOUNDS, Propagation
from keraslip.rules.bounded import check_bounded
from keraslip.rules.locality import Locality, check_local


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

    def __str__(self) -> str:
        return (
            f"{len(self.label)} samples, epsilon {self.epsilon:.4g} (L2, raw input units), bound "
            f"{self.bound}: accuracy {self.accuracy:.1%}, certified accuracy "
            f"{self.certified_accuracy:.1%}, mean Lipschitz bound {self.lipschitz.mean():.4g}; "
            f"{self.guarantee}"
        )


class Estimation:
    """Mixin of `LocalLipschitzModel` with the methods that estimate."""

    def estimate(
        self: Any,
        x: np.ndarray,
        y: np.ndarray | None = None,
        epsilon: float | None = None,
        bound: str | None = None,
        power_iterations: int = 50,
        batch_size: int = 256,
        local: Any = "all",
    ) -> Estimate:
        """Bounds of every sample with well converged power iterations: estimates, not certificates.

        Args:
            x: Inputs `(n, *shape)`.
            y: Class indices `(n,)` or one-hot; the predicted labels if `None`.
            epsilon: L2 radius, in raw input units; the compiled one if `None`.
            bound: `"local"` (the tightest, which `certify` proves), `"global"` or `"paper"`; the compiled one
                if `None`, as in `evaluate`, and `"local"` before `compile`.
            power_iterations: Iterations for each norm.
            batch_size: Samples at a time.
            local: Which norms leave constant units out, as for `compile`; all of them, as in a certificate.

        Returns:
            An `Estimate` of NumPy arrays.

        Raises:
            ValueError: if an argument is out of range, or there is no epsilon.

        Warns:
            UserWarning: if inputs leave the `input_range` of `compile`; so does `explain`.
        """
        epsilon, bound = self._epsilon(epsilon), self.bound if bound is None else bound
        locality = Locality.chosen(check_local(local), self.warm_starts.closings)
        if bound not in BOUNDS:
            raise ValueError(f"bound must be one of {BOUNDS}. Received: bound={bound!r}")
        power_iterations = check_count(power_iterations, "power_iterations")
        batch_size = check_count(batch_size, "batch_size")
        x = self._checked_inputs(x)
        tell_outside(self, x)
        if y is not None:
            y = check_labels(only_target(self, y), self.outputs[0].shape[-1], len(x))
        call = _bound_function(self, bound, power_iterations, locality)
        arguments = (x,) if y is None else (x, y.astype("int32"))
        logits, worst, margin, lipschitz = in_batches(
            lambda x, *y: call(x, np.float32(epsilon), *y), arguments, min(batch_size, len(x))
        )
        label = logits.argmax(axis=-1) if y is None else y
        return Estimate(logits, worst, margin, lipschitz, label, epsilon, bound, power_iterations)

    def explain(
        self: Any, x: np.ndarray, epsilon: float | None = None, power_iterations: int = 50
    ) -> list[LayerBound]:
        """Prints, for every layer, local and global norm, share of varying units and radii.

        Args:
            x: Inputs `(n, *shape)`; a batch, for they are bounded at once.
            epsilon: L2 radius, in raw input units; the compiled one if `None`.
            power_iterations: Iterations for each norm.

        Returns:
            One `LayerBound` for each layer that closes a bound, the logits last.

        Raises:
            ValueError: if an argument is out of range, or inputs are empty, not finite or of another shape.
        """
        epsilon, x = self._epsilon(epsilon), self._checked_inputs(x)
        tell_outside(self, x)
        rows = explain(self, x, epsilon, check_count(power_iterations, "power_iterations"))
        print_table(rows, epsilon)
        return rows

    def _epsilon(self: Any, epsilon: Any) -> float:
        """One radius: the given one, or the one compiled."""
        if epsilon is not None:
            return check_epsilon(epsilon)
        if not self.compiled:
            raise ValueError("Pass epsilon, or compile the model with one. Received: epsilon=None")
        return float(self.epsilon_value)

    def _checked_inputs(self: Any, x: Any) -> np.ndarray:
        check_bounded(self)
        return check_inputs(only_input(self, x), tuple(self.inputs[0].shape[1:]))


def _bound_function(model: Any, bound: str, power_iterations: int, locality: Locality) -> Any:
    """The compiled pass, kept on the model for the next call with the same settings."""

    def function(x: Any, epsilon: Any, y: Any = None) -> list[Any]:
        starts = RefreshedStarts(model.warm_starts)
        context = Propagation(epsilon, starts, bound, power_iterations, locality=locality)
        outcome = bound_pass(model, x, y, context)
        return [outcome.logits, outcome.worst, outcome.margin, outcome.lipschitz]

    return compiled_once(model, ("estimate", bound, power_iterations, locality), function)
