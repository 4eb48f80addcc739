"""Smooth activations, each by its formula and what `Smooth` has to know of it."""

import math
from dataclasses import dataclass
from typing import ClassVar

from keraslip.activations.smooth import Smooth
from keraslip.typing import Tensor

_ROOT_2, _ROOT_2_PI = math.sqrt(2.0), math.sqrt(2.0 * math.pi)


@dataclass(frozen=True, eq=False)
class Tanh(Smooth):
    """`tanh(z)`."""

    bends: ClassVar[tuple[float, ...]] = (0.0,)
    limits: ClassVar[tuple[float, float]] = (0.0, 0.0)

    def call(self, z: Tensor) -> Tensor:
        return self.arithmetic.tanh(z)

    def derivative(self, z: Tensor) -> Tensor:
        return 1.0 - self.arithmetic.square(self.arithmetic.tanh(z))


@dataclass(frozen=True, eq=False)
class TanhShrink(Smooth):
    """`z - tanh(z)`."""

    bends: ClassVar[tuple[float, ...]] = (0.0,)
    limits: ClassVar[tuple[float, float]] = (1.0, 1.0)

    def call(self, z: Tensor) -> Tensor:
        return z - self.arithmetic.tanh(z)

    def derivative(self, z: Tensor) -> Tensor:
        return self.arithmetic.square(self.arithmetic.tanh(z))


@dataclass(frozen=True, eq=False)
class Softsign(Smooth):
    """`z / (1 + |z|)`."""

    bends: ClassVar[tuple[float, ...]] = (0.0,)
    limits: ClassVar[tuple[float, float]] = (0.0, 0.0)

    def call(self, z: Tensor) -> Tensor:
        return z / (1.0 + self.arithmetic.abs(z))

    def derivative(self, z: Tensor) -> Tensor:
        return 1.0 / self.arithmetic.square(1.0 + self.arithmetic.abs(z))


@dataclass(frozen=True, eq=False)
class Sigmoid(Smooth):
    """`1 / (1 + exp(-z))`."""

    bends: ClassVar[tuple[float, ...]] = (0.0,)
    limits: ClassVar[tuple[float, float]] = (0.0, 0.0)
    offset: ClassVar[float] = 0.5

    def call(self, z: Tensor) -> Tensor:
        return sigmoid(self, z)

    def derivative(self, z: Tensor) -> Tensor:
        return sigmoid(self, z) * sigmoid(self, -z)


@dataclass(frozen=True, eq=False)
class Softplus(Smooth):
    """`log(1 + exp(z))`."""

    offset: ClassVar[float] = 1.0

    def call(self, z: Tensor) -> Tensor:
        return softplus(self, z)

    def derivative(self, z: Tensor) -> Tensor:
        return sigmoid(self, z)


@dataclass(frozen=True, eq=False)
class LogSigmoid(Smooth):
    """`-log(1 + exp(-z))`."""

    limits: ClassVar[tuple[float, float]] = (1.0, 0.0)
    offset: ClassVar[float] = 1.0

    def call(self, z: Tensor) -> Tensor:
        return -softplus(self, -z)

    def derivative(self, z: Tensor) -> Tensor:
        return sigmoid(self, -z)


@dataclass(frozen=True, eq=False)
class ELU(Smooth):
    """`scale z` above 0 and `scale alpha (exp(z / width) - 1)` below: ELU, SELU and CELU."""

    alpha: float = 1.0  #: Of any sign.
    scale: float = 1.0  #: Above 0.
    width: float = 1.0  #: Above 0.
    bends: ClassVar[tuple[float, ...]] = (0.0,)
    turns: ClassVar[tuple[float, ...]] = (0.0,)

    def __post_init__(self) -> None:
        # With a width below 0 it grows exponentially: no slope bounds it.
        if not (self.scale > 0.0 and self.width > 0.0):
            raise ValueError(
                "scale and width of an ELU must be above 0. "
                f"Received: scale={self.scale}, width={self.width}"
            )

    @property
    def limits(self) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, self.scale

    @property
    def corners(self) -> dict[float, tuple[float, float]]:
        below = self.scale * self.alpha / self.width
        return {} if below == self.scale else {0.0: (below, self.scale)}

    @property
    def offset(self) -> float:  # type: ignore[override]
        return self.scale * abs(self.alpha)

    def call(self, z: Tensor) -> Tensor:
        xp = self.arithmetic
        below = xp.exp(xp.minimum(z, 0.0) / self.width) - 1.0
        return self.scale * (xp.relu(z) + self.alpha * below)

    def derivative(self, z: Tensor) -> Tensor:
        xp, steepest = self.arithmetic, self.scale * self.alpha / self.width
        below = steepest * xp.exp(xp.minimum(z, 0.0) / self.width)
        return xp.where(z > 0.0, self.scale * xp.ones_like(z), below)


@dataclass(frozen=True, eq=False)
class SiLU(Smooth):
    """`z sigmoid(z)`, also called swish."""

    bends: ClassVar[tuple[float, ...]] = (-2.3993572805154675, 2.3993572805154675)
    turns: ClassVar[tuple[float, ...]] = (-1.2784645427610738,)

    def call(self, z: Tensor) -> Tensor:
        return z * sigmoid(self, z)

    def derivative(self, z: Tensor) -> Tensor:
        return sigmoid(self, z) * (1.0 + z * sigmoid(self, -z))


@dataclass(frozen=True, eq=False)
class HardSiLU(Smooth):
    """`z relu6(z + 3) / 6`, also called hard swish: a parabola from -3 to 3."""

    bends: ClassVar[tuple[float, ...]] = (-3.0, 3.0)
    turns: ClassVar[tuple[float, ...]] = (-1.5,)

    @property
    def corners(self) -> dict[float, tuple[float, float]]:
        return {-3.0: (0.0, -0.5), 3.0: (1.5, 1.0)}

    def call(self, z: Tensor) -> Tensor:
        return z * self.arithmetic.minimum(self.arithmetic.relu(z + 3.0), 6.0) / 6.0

    def derivative(self, z: Tensor) -> Tensor:
        xp = self.arithmetic
        # At its ends the parabola's own, whose tangents are taken; of NaN it is NaN.
        return xp.where(xp.abs(z) <= 3.0, z / 3.0 + 0.5, xp.minimum(xp.relu(z), 1.0))

    def peak(self, size: Tensor) -> Tensor:
        return 6.0 * size


@dataclass(frozen=True, eq=False)
class SparsePlus(Smooth):
    """`(z + 1)^2 / 4` from -1 to 1, 0 below and z above."""

    offset: ClassVar[float] = 1.0

    def call(self, z: Tensor) -> Tensor:
        xp = self.arithmetic
        return 0.25 * xp.square(xp.minimum(xp.relu(z + 1.0), 2.0)) + xp.relu(z - 1.0)

    def derivative(self, z: Tensor) -> Tensor:
        return 0.5 * self.arithmetic.minimum(self.arithmetic.relu(z + 1.0), 2.0)


@dataclass(frozen=True, eq=False)
class Squareplus(Smooth):
    """`(z + sqrt(z^2 + b)) / 2`."""

    #: Above 0, and not so small that `z^2` vanishes in float32 where b does not: 1e-6 or more.
    b: float = 4.0

    @property
    def offset(self) -> float:  # type: ignore[override]
        return math.sqrt(self.b)

    def call(self, z: Tensor) -> Tensor:
        return 0.5 * (z + self._length(z))

    def derivative(self, z: Tensor) -> Tensor:
        return 0.5 + 0.5 * z / self._length(z)

    def peak(self, size: Tensor) -> Tensor:
        return size * size

    def _length(self, z: Tensor) -> Tensor:
        return self.arithmetic.sqrt(self.arithmetic.square(z) + self.b)


@dataclass(frozen=True, eq=False)
class GELU(Smooth):
    """`z` times the normal distribution's `Phi(z)`."""

    bends: ClassVar[tuple[float, ...]] = (-_ROOT_2, _ROOT_2)
    turns: ClassVar[tuple[float, ...]] = (-0.7517915246935645,)

    def call(self, z: Tensor) -> Tensor:
        return z * self._below(z)

    def derivative(self, z: Tensor) -> Tensor:
        density = self.arithmetic.exp(-0.5 * self.arithmetic.square(z)) / _ROOT_2_PI
        return self._below(z) + z * density

    def _below(self, z: Tensor) -> Tensor:
        return 0.5 * (1.0 + self.arithmetic.erf(z / _ROOT_2))


@dataclass(frozen=True, eq=False)
class ApproximateGELU(Smooth):
    """GELU with `tanh` in place of `erf`, as `gelu(x, approximate=True)` computes it."""

    bends: ClassVar[tuple[float, ...]] = (-1.4185040087908284, 1.4185040087908284)
    turns: ClassVar[tuple[float, ...]] = (-0.7524614220710163,)

    def call(self, z: Tensor) -> Tensor:
        return z * (0.5 + 0.5 * self._tanh(z))

    def derivative(self, z: Tensor) -> Tensor:
        tanh, square = self._tanh(z), self.arithmetic.square(z)
        inner = 2.0 / _ROOT_2_PI * (1.0 + 3.0 * 0.044715 * square)
        return 0.5 + 0.5 * tanh + 0.5 * z * (1.0 - self.arithmetic.square(tanh)) * inner

    def _tanh(self, z: Tensor) -> Tensor:
        cubic = z + 0.044715 * z * self.arithmetic.square(z)
        return self.arithmetic.tanh(2.0 / _ROOT_2_PI * cubic)


@dataclass(frozen=True, eq=False)
class Mish(Smooth):
    """`z tanh(log(1 + exp(z)))`."""

    bends: ClassVar[tuple[float, ...]] = (-2.2563763963607933, 1.4905711794854284)
    turns: ClassVar[tuple[float, ...]] = (-1.1924312145154952,)

    def call(self, z: Tensor) -> Tensor:
        return z * self.arithmetic.tanh(softplus(self, z))

    def derivative(self, z: Tensor) -> Tensor:
        tanh = self.arithmetic.tanh(softplus(self, z))
        return tanh + z * (1.0 - self.arithmetic.square(tanh)) * sigmoid(self, z)


def sigmoid(function: Smooth, z: Tensor) -> Tensor:
    """`1 / (1 + exp(-z))` without overflow."""
    return 0.5 + 0.5 * function.arithmetic.tanh(0.5 * z)


def softplus(function: Smooth, z: Tensor) -> Tensor:
    """`log(1 + exp(z))` without overflow."""
    size = function.arithmetic.abs(z)
    return 0.5 * (z + size) + function.arithmetic.log(1.0 + function.arithmetic.exp(-size))
