"""Anchored slopes: how far an activation can move from its value at the center, in float64 NumPy."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from keraslip.bounds.activation_kinds import Activation, ClippedReLUKind, MaxMinKind
from keraslip.certify.operators import as_float64
from keraslip.rules import UnsupportedLayerError

#: Covers the rounding of the few operations that make a slope.
PAD = 4e-16


@dataclass(frozen=True, eq=False)
class Slopes:
    """What is known of `phi(z') - phi(z)` for every z' within rho of z.

    `phi(z') - phi(z) = diag(columns) g` with `||g|| <= ||diag(rows) (z' - z)||`. For an elementwise
    activation also `phi(z') - phi(z) = D (z' - z)` with `low <= D <= high`, entry by entry.

    Args:
        output: `phi(z)`, `(batch, *shape)`.
        rows: Weights in [0, 1] of the inputs.
        columns: Weights in [0, 1] of the outputs.
        low: Smallest slope, or `None` where the activation mixes units.
        high: Largest slope, or `None`.
    """

    output: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def of(self, samples: np.ndarray) -> "Slopes":
        """The slopes of some samples."""
        parts = (self.output, self.rows, self.columns, self.low, self.high)
        return Slopes(*(None if part is None else part[samples] for part in parts))  # type: ignore[arg-type]


class ProvedActivation(ABC):
    """An activation as the certifier knows it."""

    @abstractmethod
    def slopes(self, z: np.ndarray, rho: np.ndarray, hard: bool) -> Slopes:
        """Slopes inside a box.

        Args:
            z: Input at the center, `(batch, *shape)`.
            rho: Half width of the box around every entry, rounding included.
            hard: Weights 0 and 1 only. They hold between any two points of the box; the soft ones from
                the center only.
        """

    @abstractmethod
    def range(self, z: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest output of every unit over the box `z +- rho`."""

    def support(
        self, c: np.ndarray, z: np.ndarray, rho: np.ndarray, slopes: Slopes
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Slope s and rest q for a lower bound of `c . (phi(z') - phi(z))`, or `None` if there is none.

        `c . (phi(z') - phi(z)) >= (c s) . (z' - z) - sum_k |c_k| q_k |z'_k - z_k|`.

        Args:
            c: Coefficients, `(batch, *shape)`.
            z: Input at the center.
            rho: Half width of the box.
            slopes: What `slopes` returned.
        """
        return None


class ProvedClippedReLU(ProvedActivation):
    """`min(max(z, 0), threshold)`; no upper clip if the threshold is infinite.

    Args:
        threshold: Broadcastable to `(1, *shape)`.
    """

    def __init__(self, threshold: np.ndarray) -> None:
        self.threshold = threshold

    def slopes(self, z: np.ndarray, rho: np.ndarray, hard: bool) -> Slopes:
        theta = self.threshold
        output = np.minimum(np.maximum(z, 0.0), theta)
        inside = (z > 0.0) & (z < theta)
        away = np.maximum(np.maximum(-z, z - theta), 0.0)  # distance of z to [0, theta]
        constant = (rho <= away) | (theta <= 0.0)
        reach = np.minimum(rho, theta + away)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            soft = np.minimum((1.0 - away / reach) * (1.0 + PAD) + PAD, 1.0)
            high = np.where(constant, 0.0, np.where(inside | hard, 1.0, soft))
            # From inside, the slope is smallest at the far side of the nearer kink.
            least = np.minimum(z, theta - z) / rho * (1.0 - PAD)
        low = np.where(inside & ~constant, np.clip(least, 0.0, 1.0), 0.0)
        varies = np.where(high > 0.0, 1.0, high)  # NaN stays NaN
        return Slopes(output, high, varies, low, high)

    def range(self, z: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = (np.minimum(np.maximum(s, 0.0), self.threshold) for s in (z - rho, z + rho))
        return low, high

    def support(
        self, c: np.ndarray, z: np.ndarray, rho: np.ndarray, slopes: Slopes
    ) -> tuple[np.ndarray, np.ndarray]:
        low, high, theta = slopes.low, slopes.high, self.threshold
        assert low is not None and high is not None
        s, q = 0.5 * (low + high), 0.5 * (high - low) * (1.0 + PAD)
        at_zero = (z - rho < 0.0) & (z + rho > 0.0)
        at_theta = (z - rho < theta) & (z + rho > theta)
        # Where only the convex kink is in the box a tangent supports from below, the concave from above.
        convex = at_zero & ~at_theta & (c > 0.0) & (high > 0.0)
        concave = at_theta & ~at_zero & (c < 0.0) & (high > 0.0)
        s = np.where(convex, z > 0.0, np.where(concave, z < theta, s))
        return s, np.where(convex | concave, 0.0, q)


class ProvedMaxMin(ProvedActivation):
    """`(min(max(p, q), upper), max(min(p, q), lower))` of the halves p, q along an axis.

    The pair is 1-Lipschitz, and so is each clip: an output that lies a beyond its clip moves by at most
    `1 - a / rho` of what its pair moves.

    Args:
        upper: Clip of the maximum, infinite for none.
        lower: Clip of the minimum, minus infinity for none.
        axis: The axis that is halved, batch axis included.
    """

    def __init__(self, upper: np.ndarray, lower: np.ndarray, axis: int) -> None:
        self.upper, self.lower, self.axis = upper, lower, axis

    def slopes(self, z: np.ndarray, rho: np.ndarray, hard: bool) -> Slopes:
        p, q = np.split(z, 2, axis=self.axis)
        rho_p, rho_q = np.split(rho, 2, axis=self.axis)
        # A difference rounds relative to itself, which the inflation of the boxes covers.
        p_first, q_first = p - q >= rho_p + rho_q, q - p >= rho_p + rho_q
        certain = p_first | q_first
        reach = np.maximum(rho_p, rho_q)
        # Where the order is certain each output moves with its own input alone.
        reach_max = np.where(p_first, rho_p, np.where(q_first, rho_q, reach))
        reach_min = np.where(p_first, rho_q, np.where(q_first, rho_p, reach))
        largest, smallest = np.maximum(p, q), np.minimum(p, q)
        high = self._weight(largest - self.upper, reach_max, hard)
        low = self._weight(self.lower - smallest, reach_min, hard)
        pair = np.maximum(high, low)
        rows_p = np.where(p_first, high, np.where(q_first, low, pair))
        rows_q = np.where(p_first, low, np.where(q_first, high, pair))
        columns = [self._column(part, pair, certain) for part in (high, low)]
        output = [np.minimum(largest, self.upper), np.maximum(smallest, self.lower)]
        return Slopes(
            np.concatenate(output, axis=self.axis),
            np.concatenate([rows_p, rows_q], axis=self.axis),
            np.concatenate(columns, axis=self.axis),
        )

    @staticmethod
    def _column(part: np.ndarray, pair: np.ndarray, certain: np.ndarray) -> np.ndarray:
        """Outputs are `diag(part / pair) diag(pair) g`, or `diag(part) g` where the order is certain."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            mixed = np.minimum(np.where(pair == 0.0, 0.0, part / pair) * (1.0 + PAD), 1.0)
        return np.where(certain, np.where(part > 0.0, 1.0, part), mixed)

    def range(self, z: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sides = []
        for side in (z - rho, z + rho):
            # Both outputs grow with both inputs.
            p, q = np.split(side, 2, axis=self.axis)
            pair = [
                np.minimum(np.maximum(p, q), self.upper),
                np.maximum(np.minimum(p, q), self.lower),
            ]
            sides.append(np.concatenate(pair, axis=self.axis))
        return sides[0], sides[1]

    @staticmethod
    def _weight(beyond: np.ndarray, reach: np.ndarray, hard: bool) -> np.ndarray:
        away = np.maximum(beyond, 0.0)
        constant = (reach <= away) | (reach <= 0.0)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            soft = np.minimum((1.0 - away / reach) * (1.0 + PAD) + PAD, 1.0)
        return np.where(constant, 0.0, np.where(hard, 1.0, soft))


def proved_activation(activation: Activation) -> ProvedActivation:
    """The certifier's form of an activation.

    Raises:
        UnsupportedLayerError: if the activation's rule does not say what it is.
    """
    kind = activation.kind
    if isinstance(kind, ClippedReLUKind):
        return ProvedClippedReLU(_number(kind.threshold, np.inf))
    if isinstance(kind, MaxMinKind):
        clips = _number(kind.upper, np.inf), _number(kind.lower, -np.inf)
        return ProvedMaxMin(*clips, kind.axis)
    raise UnsupportedLayerError(
        f"No certificate can pass {activation.name!r}: its rule gives bounds for training only. Remedy: "
        "let the rule's `kind` say what the activation is, one of keraslip.bounds.activation_kinds."
    )


def _number(tensor: object, missing: float) -> np.ndarray:
    return np.asarray(missing) if tensor is None else as_float64(tensor)
