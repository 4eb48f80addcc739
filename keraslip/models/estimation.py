"""What a model estimates by power iteration: bounds of samples, and where they come from."""

from typing import Any

import numpy as np

from keraslip.backend.structure import only_input
from keraslip.checks import check_count, check_epsilon, check_inputs
from keraslip.models.estimate import Estimate, estimate
from keraslip.models.explain import LayerBound, explain, print_table
from keraslip.rules.bounded import check_bounded
from keraslip.rules.locality import Locality, check_local


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
            bound: `"local"`, `"global"` or `"paper"`; the compiled one if `None`.
            power_iterations: Iterations for each norm.
            batch_size: Samples at a time.
            local: Which norms leave constant units out, as for `compile`; all of them, as in a certificate.

        Returns:
            An `Estimate` of NumPy arrays.

        Raises:
            ValueError: if an argument is out of range, or there is no epsilon.
        """
        bound = self.bound if bound is None else bound
        locality = Locality.chosen(check_local(local), self.warm_starts.closings)
        return estimate(
            self, x, y, self._epsilon(epsilon), bound, power_iterations, batch_size, locality
        )

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
        epsilon = self._epsilon(epsilon)
        check_bounded(self)
        x = check_inputs(only_input(self, x), tuple(self.inputs[0].shape[1:]))
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
