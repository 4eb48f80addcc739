"""What training, proofs and exported graphs have to know of an activation."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from keraslip.arithmetic import Formula
from keraslip.typing import Tensor

#: Covers the rounding, in float64, of the few operations that make a slope.
PAD = 4e-16


@dataclass(frozen=True, eq=False)
class Slopes:
    """What is known of `phi(z') - phi(z)` for every z' within rho of z.

    `phi(z') - phi(z) = diag(columns) g` with `||g|| <= ||diag(rows) (z' - z)||`. For an elementwise
    activation also `phi(z') - phi(z) = D (z' - z)` with `low <= D <= high`, entry by entry.

    Args:
        rows: Weights of the inputs, at least 0: the largest magnitudes of slopes.
        columns: Weights of the outputs in [0, 1]: 0 where an output cannot change.
        low: Smallest slope, or `None` where the activation mixes units, or where weights are hard.
        high: Largest slope, or `None`.
    """

    rows: Tensor
    columns: Tensor
    low: Tensor | None = None
    high: Tensor | None = None

    def of(self, samples: Any) -> "Slopes":
        """The slopes of some samples."""
        parts = (getattr(self, field.name) for field in fields(self))
        return Slopes(*(None if part is None else part[samples] for part in parts))


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Groups of entries whose pairs are compared one after the other."""

    groups: np.ndarray  #: Flat places of the entries of every group, `(groups, size)`.
    #: Columns `(i, j)` of `groups`: the larger of both entries goes to i, the smaller one to j.
    pairs: tuple[tuple[int, int], ...]
    #: By column, behind the last comparison: the clip of every group, `(groups,)`, and whether it is the
    #: largest value, not the smallest one.
    clips: dict[int, tuple[np.ndarray, bool]] = field(default_factory=dict)
    #: Columns whose entries are outputs, in their places; the others become zero. All if `None`.
    kept: tuple[int, ...] | None = None
    there: np.ndarray | None = None  #: Which entries count, `(groups, size)`; all if `None`.


@dataclass(frozen=True, eq=False)
class Activation(Formula, ABC):
    """Base of activations: override `call` and `slopes`, and what does not fit below.

    Subclasses are frozen dataclasses whose fields are their coefficients. All methods compute with
    `self.arithmetic` (see `keraslip.arithmetic.Arithmetic`) and operators alone, so that the same lines
    train, prove and run in an exported graph; `keraslip.arithmetic.float64` is NumPy.

    What must hold, for every z, every rho >= 0 and all z', z'' with `|z' - z| <= rho`, entry by entry:

    * `call` is what the layer computes, up to `roundings`.
    * `slopes(z, rho, hard=False)`: what `Slopes` says, of z and z'.
    * `slopes(z, rho, hard=True)`: the same of any z' and z'', with rows and columns alone.
    * No weight of `rows` is larger than `lipschitz`, whatever z and rho are.
    * `range(z - rho, z + rho)` holds `phi(z')`.
    * `support`: see there.
    * Comparisons with NaN are false: where z or rho is NaN, no weight is 0. Write `varies = not (constant)`.

    `keraslip.certify` holds a user's activation to this by sampling, at first use.

    Args:
        arithmetic: What the formulas compute with; set by `to`.

    Example:

    ```python
    @dataclass(frozen=True, eq=False)
    class HardTanh(keraslip.activations.Activation):
        roundings = 0.0

        def call(self, z):
            return self.arithmetic.minimum(self.arithmetic.maximum(z, -1.0), 1.0)

        def slopes(self, z, rho, hard):
            constant = (rho <= -1.0 - z) | (rho <= z - 1.0)
            high = self.arithmetic.where(constant, 0.0, self.arithmetic.ones_like(z))
            return self.elementwise(0.0 * high, high)
    ```
    """

    #: The largest weight of rows that `slopes` gives anywhere: a Lipschitz constant.
    lipschitz: ClassVar[Any] = 1.0
    #: How many roundings of the backend's an output may carry, each relative to
    #: `offset + |phi(z)| + lipschitz |z|`. 0 for what only selects among numbers, as minima and maxima do.
    roundings: ClassVar[float] = 16.0
    #: The size of numbers that cancel on the way to small outputs of small inputs, as 1 does in `exp(z) - 1`.
    offset: ClassVar[float] = 0.0
    #: Whether a mask of `slopes` can leave anything out.
    masks: ClassVar[Any] = True
    #: Whether an output depends on the input in the same place alone.
    is_elementwise: ClassVar[bool] = True

    @abstractmethod
    def call(self, z: Tensor) -> Tensor:
        """What the activation makes of z, `(batch, *shape)`."""

    @abstractmethod
    def slopes(self, z: Tensor, rho: Tensor, hard: bool) -> Slopes:
        """Slopes inside a box.

        Args:
            z: Input at the center, `(batch, *shape)`.
            rho: Half width of the box around every entry, rounding included.
            hard: Weights that hold between any two points of the box, for training and
                `local_lipschitz`; the soft ones hold from the center only, and are smaller.
        """

    def kept(self, z: Tensor, rho: Tensor) -> Slopes:
        """The weights that training masks norms by: the hard slopes, as it is.

        Args:
            z: Middle of the box, `(batch, *shape)`.
            rho: Half width of the box.
        """
        return self.slopes(z, rho, hard=True)

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest output of every unit over a box; as it is, for an activation that grows.

        Args:
            lower: Smallest input.
            upper: Largest input.
        """
        return self.call(lower), self.call(upper)

    def support(
        self, c: Tensor, z: Tensor, rho: Tensor, slopes: Slopes
    ) -> tuple[Tensor, Tensor] | None:
        """Slope s and rest q for a lower bound of `c . (phi(z') - phi(z))`, or `None` if there is none.

        `c . (phi(z') - phi(z)) >= (c s) . (z' - z) - sum_k |c_k| q_k |z'_k - z_k|`.

        Args:
            c: Coefficients, `(batch, *shape)`.
            z: Input at the center.
            rho: Half width of the box.
            slopes: What `slopes` returned, with soft weights.
        """
        low, high = slopes.low, slopes.high
        if low is None or high is None:
            return None
        return 0.5 * (low + high), 0.5 * (high - low) * (1.0 + PAD)

    def peak(self, size: Tensor) -> Tensor:
        """How large a number on the way is at most where `offset + |phi(z)| + lipschitz |z|` is this size.

        What overflows there is not certified.
        """
        return size

    def comparisons(self, shape: tuple[int, ...]) -> Comparisons | None:
        """What an activation compares that mixes units by nothing else; `None` if it is not of this kind.

        Args:
            shape: Shape of one input, without the batch axis.
        """
        return None

    def sparsity(self, lower: Tensor, upper: Tensor) -> Tensor:
        """The sparsity loss of training, `(batch,)`: small where few units can change; zero as it is.

        Args:
            lower: Smallest input.
            upper: Largest input.
        """
        return self.arithmetic.zeros_like(self.mean(upper))

    def plain(self, shape: tuple[int, ...]) -> dict[str, Any] | None:
        """The activation as arrays for the independent checker, or `None` if that does not know it.

        Args:
            shape: Shape of one input, without the batch axis.
        """
        return None

    def elementwise(self, low: Tensor, high: Tensor) -> Slopes:
        """The `Slopes` of an elementwise activation from its smallest and largest slopes."""
        xp = self.arithmetic
        rows = xp.maximum(xp.abs(low), xp.abs(high))
        # NaN stays NaN.
        return Slopes(rows, xp.where(rows > 0.0, xp.ones_like(rows), rows), low, high)

    def mean(self, x: Tensor) -> Tensor:
        """The mean of every sample, `(batch,)`."""
        return self.arithmetic.mean(x, tuple(range(1, len(x.shape))))


def clip_roundings(*clips: Any) -> float:
    """How often an output that may be one of some clips is rounded, as proofs ask in NumPy.

    Selecting a number rounds nothing. But a clip of a layer in float64 may be no number of float32, which the
    next layer makes of it.
    """
    known = [clip for clip in clips if isinstance(clip, float | np.ndarray)]
    with np.errstate(over="ignore"):
        exact = all((np.asarray(clip, "float32") == clip).all() for clip in known)
    return 0.0 if exact else 1.0
