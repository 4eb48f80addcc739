"""A linear layer of a user's own: one map and one rule; a map that is wrong is not believed."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.arithmetic import float64
from keraslip.linear import LinearMap
from keraslip.rules import LinearRule, MismatchError, UnsupportedLayerError
from tests.export.nets import on_tensorflow
from tests.harness import model_of, run_rule_test

SHAPE = (7,)


@keras.saving.register_keras_serializable(package="test_own_map")
class Smooth(layers.Layer):
    """Each entry and its neighbours, by three weights."""

    kind = "right"

    def build(self, shape):
        self.taps = self.add_weight(shape=(3,), initializer="random_normal", name="taps")

    def call(self, x):
        x = ops.pad(x, ((0, 0), (1, 1)))
        return sum(self.taps[i] * x[:, i : i + SHAPE[0]] for i in range(3))


@dataclass(frozen=True, eq=False)
class SmoothMap(LinearMap):
    """What the layer is."""

    taps: Any
    in_shape: tuple[int, ...]

    def forward(self, x):
        return self._along(x, (0, 1, 2))

    def adjoint(self, y):
        return self._along(y, (2, 1, 0))

    def _along(self, x, order):
        x = self.arithmetic.pad(x, ((0, 0), (1, 1)))
        parts = [self.taps[i] * x[:, j : j + SHAPE[0]] for j, i in enumerate(order)]
        return parts[0] + parts[1] + parts[2]


class WrongAdjoint(SmoothMap):
    adjoint = SmoothMap.forward


class WrongRows(SmoothMap):
    def row_norms(self, varying=None, tight=False):
        return 0.5 * self.arithmetic.abs(self.taps[1]) * self.arithmetic.ones((1, *SHAPE))


class OneWrongRow(SmoothMap):
    def row_norms(self, varying=None, tight=False):
        share = np.ones((1, *SHAPE), "float32")
        share[0, 4] = 0.1
        rows = super().row_norms(varying, tight)
        return rows * (share if self.arithmetic is float64 else ops.convert_to_tensor(share))


class Clipped(SmoothMap):
    """Linear for what a random vector holds."""

    def forward(self, x):
        return self.arithmetic.minimum(super().forward(x), 100.0)


class DeadZone(SmoothMap):
    """Linear but for small numbers."""

    def forward(self, x):
        made = super().forward(x)
        return self.arithmetic.where(self.arithmetic.abs(made) > 1e-9, made, 0.0 * made)


class NotLinear(SmoothMap):
    def forward(self, x):
        return super().forward(x) + self.taps[0]


class OfKeras(SmoothMap):
    def forward(self, x):
        return ops.multiply(super().forward(ops.convert_to_tensor(x)), 1.0)


class HiddenSign(SmoothMap):
    def forward(self, x):
        return -super().forward(x)

    def adjoint(self, y):
        return -super().adjoint(y)


KINDS = {
    "right": SmoothMap,
    "adjoint": WrongAdjoint,
    "row norms": WrongRows,
    "one of the row norms": OneWrongRow,
    "linear": NotLinear,
    "linear: of a vector of another size": Clipped,
    "linear, dead zone": DeadZone,
    "arithmetic": OfKeras,
    "absolute": HiddenSign,
}


@keraslip.register_rule(Smooth)
class SmoothRule(LinearRule):
    def linear_map(self, layer, in_shape):
        return KINDS[layer.kind](ops.convert_to_tensor(layer.taps), in_shape)


def net(kind="right"):
    layer = Smooth(name="mine")
    layer.kind = kind
    made = model_of(lambda x: layers.ReLU()(layer(layers.ReLU()(layers.Dense(7)(x)))), (4,))
    layer.taps.assign([0.5, -1.0, 0.25])
    return made


def test_it_trains_and_certifies():
    made = run_rule_test(net(), (4,), samples=2, count=50)
    made.compile("sgd", epsilon=0.05)
    x = np.random.default_rng(0).uniform(size=(6, 4)).astype("float32")
    label = made.predict(x, verbose=0).argmax(axis=1)
    made.fit(x, label, verbose=0)
    label = made.predict(x, verbose=0).argmax(axis=1)
    found = made.certify(x, label, epsilon=1e-3, verbose=False)
    assert found.certified.any()


def test_its_rounding_is_counted():
    """Without a word from its author: three products a sum, and a norm by its matrix."""
    from keraslip.certify.operators import prove

    exact = prove(SmoothMap(np.array([0.5, -1.0, 0.25]), SHAPE))
    assert (exact.terms, exact.fan_out) == (3, 3) and not exact.one_sum and exact.slack > 0
    matrix = exact.forward(np.eye(7)).T
    norm = np.linalg.norm(matrix, 2)
    assert norm <= exact.norm <= norm * 1.00001
    rows = np.linalg.norm(matrix, axis=1)
    assert (exact.row_norms()[0] >= rows).all() and (exact.row_norms()[0] <= 1.00001 * rows).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "right"])
def test_a_map_that_is_wrong_is_not_believed(kind):
    words = {"one of the row norms": "row norms", "linear, dead zone": "linear"}.get(kind, kind)
    with pytest.raises(MismatchError, match=f"'mine'.*not believed: .*{words}.*Remedy: "):
        net(kind).compile("sgd", epsilon=0.05)


class Failing(SmoothMap):
    def forward(self, x):
        return self.arithmetic.no_such_function(x)


def test_a_map_that_fails_is_named(monkeypatch):
    """Keras would name its own pass."""
    monkeypatch.setitem(KINDS, "fails", Failing)
    words = (
        "^No bound can pass Smooth at 'mine': its rule.* fails.*AttributeError.*no_such_function"
    )
    with pytest.raises(UnsupportedLayerError, match=words):
        net("fails").compile("sgd", epsilon=0.05)


class Both(layers.Layer):
    def call(self, x):
        return x, 2.0 * x


@keraslip.register_rule(Both)
class BothRule(LinearRule):
    def linear_map(self, layer, in_shape):
        return keraslip.linear.DiagonalMap(ops.ones((1,)), in_shape)


def test_another_result_than_the_first_is_refused_in_a_sentence():
    both = Both(name="mine")
    model_of(lambda x: both(layers.Dense(7)(x))[0], (4,)).compile("sgd", epsilon=0.05)
    made = model_of(lambda x: both(layers.Dense(7)(x))[1], (4,))
    words = "^No bound can pass Both at 'mine': of several results the first alone is known"
    with pytest.raises(UnsupportedLayerError, match=words):
        made.compile("sgd", epsilon=0.05)


def test_a_map_that_changes_after_compile_is_not_certified():
    made = net()
    made.compile("sgd", epsilon=0.05)
    made.get_layer("mine").kind = "adjoint"
    with pytest.raises(MismatchError, match="'mine'.*its adjoint is not that of its forward"):
        made.certify(np.zeros((1, 4), "float32"), epsilon=0.1, verbose=False)


@on_tensorflow
def test_it_exports(tmp_path):
    made = net()
    made.compile("sgd", epsilon=0.05)
    # What is written is asked, and held against the model.
    made.export(tmp_path / "served", verbose=False)
    assert (tmp_path / "served" / "keraslip.json").exists()
