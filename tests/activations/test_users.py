"""A user's own activation: it certifies, and one that says what does not hold is refused."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.activations import Activation, ClippedReLU, GroupSort, MaxMin, PiecewiseLinear
from keraslip.activations.sampled import activation_problem
from keraslip.arithmetic import float64
from keraslip.rules import UnsupportedLayerError

SHAPE = (6,)
#: A slope for every channel, as PReLU has.
ALPHA = np.array([-1.5, 0.0, 0.3, 3.0])


@dataclass(frozen=True, eq=False)
class Tanh(Activation):
    """A smooth one: the slope from the center is smallest and largest at the ends of the box."""

    def call(self, z):
        return np.tanh(z)

    def slopes(self, z, rho, hard):
        ends = [1.0 - np.square(self.call(side)) for side in (z - rho, z + rho)]
        low = np.minimum(*ends)
        high = np.where(~(np.abs(z) > rho), 1.0, np.maximum(*ends))
        return self.elementwise(low, high)


def lying(name, value, base=Tanh):
    return type("Lying", (base,), {name: value})().to(float64)


@pytest.mark.parametrize(
    "activation",
    [
        Tanh(), ClippedReLU(), ClippedReLU(0.5), MaxMin(), MaxMin(0.5, -0.5), MaxMin(None, 0.2),
        GroupSort(2), GroupSort(4), GroupSort(2, axis=-2), PiecewiseLinear((0.0,), (ALPHA, 1.0)),
    ],
)  # fmt: skip
def test_what_holds(activation):
    for shape in ((2, 4), (3, 2, 4)):
        assert activation_problem(activation.to(float64), shape, np.random.default_rng(0)) is None


def shrunk(self, z, rho, hard):
    slopes = Tanh.slopes(self, z, rho, hard)
    return self.elementwise(slopes.low, 0.98 * slopes.high)


def raised(self, z, rho, hard):
    slopes = Tanh.slopes(self, z, rho, hard)
    return self.elementwise(np.minimum(1.02 * slopes.low, slopes.high), slopes.high)


def from_center_only(self, z, rho, hard):
    return ClippedReLU.slopes(self, z, rho, False)


def constant_nan(self, z, rho, hard):
    slopes = Tanh.slopes(self, z, rho, hard)
    return self.elementwise(0.0 * z, np.where(np.isfinite(z) & np.isfinite(rho), slopes.high, 0.0))


LIES = {
    "slopes": lambda: lying("slopes", shrunk),
    "slopes(hard=False): an output": lambda: lying("slopes", raised),
    "slopes(hard=True): between": lambda: lying("slopes", from_center_only, ClippedReLU),
    "where z or rho is NaN": lambda: lying("slopes", constant_nan),
    "lipschitz, which is 0.9": lambda: lying("lipschitz", 0.9),
    "range": lambda: lying("call", lambda self, z: -np.tanh(z)),
    "support": lambda: lying("support", lambda self, c, z, rho, slopes: (0.0 * z + 0.5, 0.0 * z)),
    "kept": lambda: lying("kept", lambda self, z, rho: self.elementwise(0.0 * z, 0.5 + 0.0 * z)),
    "call: of a float64 array": lambda: lying("call", lambda self, z: z.astype("float32")),
}  # fmt: skip


@pytest.mark.parametrize("message", LIES)
def test_what_does_not_hold(message):
    problem = activation_problem(LIES[message](), SHAPE, np.random.default_rng(0))
    if message == "range":  # a falling function has other slopes, too
        assert problem is not None
    else:
        assert problem is not None and message in problem


@dataclass(frozen=True, eq=False)
class Shrink(Activation):
    """`x` less its part in [-1, 1]: of slope 1 outside, and 0 inside."""

    claimed: float = 1.0

    def call(self, z):
        return z - self.arithmetic.minimum(self.arithmetic.maximum(z, -1.0), 1.0)

    def slopes(self, z, rho, hard):
        constant = (rho <= z + 1.0) & (rho <= 1.0 - z)
        one = self.arithmetic.ones_like(z)
        high = self.arithmetic.where(constant, 0.0 * one, self.claimed * one)
        return self.elementwise(0.0 * one, high)


class SoftShrink(layers.Layer):
    """A layer of it."""

    def __init__(self, claimed):
        super().__init__(name="shrink")
        self.claimed = claimed

    def call(self, x):
        return x - ops.clip(x, -1.0, 1.0)


@keraslip.register_rule(SoftShrink)
class SoftShrinkRule(keraslip.rules.ActivationRule):
    def kind(self, layer):
        return Shrink(layer.claimed)


def model_with(claimed):
    keras.utils.set_random_seed(0)
    start = keras.Input(SHAPE)
    x = SoftShrink(claimed)(layers.Dense(8, kernel_initializer="he_normal")(start))
    return keraslip.LocalLipschitzModel(start, layers.Dense(3)(x))


def test_it_certifies():
    x = np.random.default_rng(1).normal(size=(20, *SHAPE)).astype("float32")
    found = model_with(1.0).certify(x, epsilon=0.05, verbose=False)
    assert 0.3 < found.certified.mean() <= 1.0
    with pytest.raises(
        UnsupportedLayerError, match="'shrink'.*Shrink says of itself does not hold"
    ):
        model_with(0.9).certify(x, epsilon=0.05, verbose=False)
