"""`check_activation`: every activation of every case is right, and what is wrong is named."""

from dataclasses import dataclass

import numpy as np
import pytest
from keras import ops

from keraslip.activations import Activation, ClippedReLU, MaxMin, Slopes
from keraslip.arithmetic import training
from keraslip.rules.map_check import parts
from keraslip.testing import check_activation
from tests.cases import CASES


def distinct():
    """Activations of all cases, one of each class and shape."""
    found = [part for case in CASES.values() for part in parts(case.model).activations]
    return {(type(activation), shape): activation for _, activation, shape in found}


@pytest.mark.any_backend(
    "tests/rules/test_cases.py holds training's slopes against what runs, on each"
)
def test_every_activation_of_every_case_is_what_it_says():
    for (_, shape), activation in distinct().items():
        check_activation(activation, shape)


@dataclass(frozen=True, eq=False)
class HardTanh(Activation):
    """One that is right."""

    def call(self, z):
        return self.arithmetic.minimum(self.arithmetic.maximum(z, -1.0), 1.0)

    def slopes(self, z, rho, hard):
        xp = self.arithmetic
        constant = (rho <= -1.0 - z) | (rho <= z - 1.0)
        high = xp.where(constant, xp.zeros_like(z), xp.ones_like(z))
        return self.elementwise(0.0 * high, high)


class TooConstant(HardTanh):
    def slopes(self, z, rho, hard):
        xp = self.arithmetic
        constant = (rho <= -0.9 - z) | (rho <= z - 0.9)
        high = xp.where(constant, xp.zeros_like(z), xp.ones_like(z))
        return self.elementwise(0.0 * high, high)


class Steeper(HardTanh):
    """Twice as steep, and does not say so."""

    def call(self, z):
        return super().call(2.0 * z)


class NotHard(HardTanh):
    """Slopes from the center, between any two points."""

    def slopes(self, z, rho, hard):
        xp = self.arithmetic
        away = xp.relu(xp.maximum(-1.0 - z, z - 1.0))
        high = xp.where(rho <= away, xp.zeros_like(z), 1.0 - xp.divide(away, rho))
        return self.elementwise(0.0 * high, high)


class NoNaN(HardTanh):
    def slopes(self, z, rho, hard):
        xp = self.arithmetic
        varies = (rho > -1.0 - z) & (rho > z - 1.0)
        high = xp.where(varies, xp.ones_like(z), xp.zeros_like(z))
        return self.elementwise(0.0 * high, high)


class LowTooHigh(HardTanh):
    def slopes(self, z, rho, hard):
        good = super().slopes(z, rho, hard)
        return Slopes(good.rows, good.columns, 0.2 * good.high, good.high)


class SmallRange(HardTanh):
    def range(self, lower, upper):
        return 0.9 * self.call(lower), self.call(upper)


class BadSupport(HardTanh):
    def support(self, c, z, rho, slopes):
        return self.arithmetic.ones_like(z), self.arithmetic.zeros_like(z)


class Bounded(HardTanh):
    lipschitz = 0.5


class Reversed(HardTanh):
    """Mixes units, and says that it does not."""

    def call(self, z):
        return self.arithmetic.flip(super().call(z), -1)


class OtherInTraining(HardTanh):
    def call(self, z):
        return super().call(z) * (0.99 if self.arithmetic is training else 1.0)


class OfTheBackend(HardTanh):
    def call(self, z):
        return ops.cast(ops.clip(ops.convert_to_tensor(z), -1.0, 1.0), "float32")


def test_activations_that_are_right():
    check_activation(HardTanh(), (3, 2))
    check_activation(ClippedReLU(training.constant(np.array([[0.1, 0.5, 2.0]], "float32"))), (3,))
    check_activation(MaxMin(0.3, -0.2), (4,))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (TooConstant, r"slopes\(hard=False\): an output moves further from its center"),
        (Steeper, r"slopes\(hard=False\): an output moves further from its center"),
        (NotHard, r"slopes\(hard=True\): between two points of a box an output moves further"),
        (NoNaN, r"slopes\(hard=False\): where z or rho is NaN a weight is 0"),
        (LowTooHigh, r"slopes\(hard=False\): an output moves further"),
        (SmallRange, "range: an output lies outside"),
        (BadSupport, "support: it is larger than what it supports"),
        (
            Bounded,
            r"slopes\(hard=False\): weights of rows must be from 0 to lipschitz, which is 0.5",
        ),
        (Reversed, "is_elementwise: an output changes while the input in its place does not"),
        (OtherInTraining, "call: in training it is another function than in certificates"),
        (OfTheBackend, "call: of float64 arrays it makes .*float32"),
    ],
)
def test_what_is_wrong_is_named(kind, message):
    with pytest.raises(AssertionError, match=f"^({message})"):
        check_activation(kind())
