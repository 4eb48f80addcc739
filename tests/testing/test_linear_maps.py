"""`check_map`: every map of every case is right, and what is wrong is named."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from keras import ops

from keraslip.arithmetic import training
from keraslip.linear import Composition, DenseMap, LinearMap, Sum
from keraslip.rules.map_check import parts
from keraslip.testing import check_map
from tests.cases import CASES


@pytest.mark.any_backend(
    "tests/rules/test_cases.py holds training's maps against what runs, on each"
)
@pytest.mark.parametrize("name", CASES)
def test_every_map_of_every_case_is_what_it_says(name):
    for _, linear_map in parts(CASES[name].model).maps:
        check_map(linear_map)


def dense(seed=0, into=5, out=4):
    kernel = np.random.default_rng(seed).standard_normal((into, out))
    return DenseMap(training.constant(kernel), (into,))


def test_compositions_and_sums():
    check_map(Composition(dense(1, 4, 3), dense()))
    check_map(Sum((dense(), dense(1))))


@dataclass(frozen=True, eq=False)
class Steps(LinearMap):
    """A map that is right: entry i minus c times entry i - 1, of sequences `(n, channels)`."""

    c: Any
    in_shape: tuple[int, ...]

    def forward(self, x):
        a = self.arithmetic
        return x - self.c * a.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))

    def adjoint(self, y):
        a = self.arithmetic
        return y - self.c * a.pad(y[:, 1:], ((0, 0), (0, 1), (0, 0)))

    def absolute(self):
        return replace(self, c=-self.arithmetic.abs(self.c))


class OtherWay(Steps):
    def adjoint(self, y):
        return self.forward(y)


class ShortAdjoint(Steps):
    def adjoint(self, y):
        return super().adjoint(y)[:, :-1]


class SmallRows(Steps):
    def row_norms(self, varying=None, tight=False):
        return 0.7 * super().row_norms(varying, tight)


class SmallMaskedRows(Steps):
    def row_norms(self, varying=None, tight=False):
        rows = super().row_norms(varying, tight)
        return rows if varying is None else rows * varying


class FlatRows(Steps):
    def row_norms(self, varying=None, tight=False):
        return super().row_norms(varying, tight).reshape(-1)


class SmallNorm(Steps):
    def norm_bound(self):
        return 0.9 * self.arithmetic.max(self.arithmetic.abs(self.c))


class LostSign(Steps):
    def absolute(self):
        return self.each(self.arithmetic.abs)

    def row_norms(self, varying=None, tight=False):
        return 9.0 * self.arithmetic.ones((1, *self.out_shape))

    def norm_bound(self):
        return 9.0 * self.arithmetic.ones(())


class NoIsometry(Steps):
    isometry = True


class WithBias(Steps):
    def forward(self, x):
        return super().forward(x) + 0.1


class Bent(Steps):
    def forward(self, x):
        return self.arithmetic.abs(super().forward(x))


class BentFarAway(Steps):
    def forward(self, x):
        return self.arithmetic.minimum(super().forward(x), 100.0)


class WrongShape(Steps):
    @property
    def out_shape(self):
        return (self.in_shape[0] - 1, self.in_shape[1])


class OfTheBackend(Steps):
    def forward(self, x):
        return ops.multiply(ops.cast(ops.convert_to_tensor(x), "float32"), 2.0)


class OtherInTraining(Steps):
    def forward(self, x):
        return super().forward(x) * (1.01 if self.arithmetic is training else 1.0)


def steps(kind):
    return kind(training.constant([-0.8]), (5, 2))


def test_a_map_that_is_right():
    check_map(steps(Steps))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (OtherWay, r"adjoint: it is not the transpose of forward. From input \(1, 0\) to output \(0, 0\)"),
        (ShortAdjoint, "adjoint: its output has shape"),
        (SmallRows, r"row norms: too small, tight=False. At output \(\d, \d\) .* is claimed, the row has"),
        (SmallMaskedRows, "row norms: too small with a mask"),
        (FlatRows, r"row norms: their shape \(10,\) has to be \(1, 5, 2\)"),
        (SmallNorm, r"norm bound: norm_bound\(\) is 0.72, but the map stretches a vector by 1.7"),
        (LostSign, "absolute: its matrix"),
        (NoIsometry, "isometry: every output"),
        (WithBias, "forward: of zero it makes something else; .* belongs in the rule's bias"),
        (Bent, "forward: it is not linear"),
        (BentFarAway, r"forward: it is not linear: of a vector of 1e\+12 it makes something else"),
        (WrongShape, r"forward: its output has shape \(10, 5, 2\), not \(10, 4, 2\)"),
        (OfTheBackend, "forward: .*Write it on self.arithmetic"),
        (OtherInTraining, "forward: in training it is another map than in certificates"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(kind, message):
    with pytest.raises(AssertionError, match=f"^{message}"):
        check_map(steps(kind))


def test_a_large_map_is_refused():
    with pytest.raises(ValueError, match="smaller one. Received: "):
        check_map(DenseMap(training.constant(np.ones((3000, 3000))), (3000,)))
