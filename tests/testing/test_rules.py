"""`run_rule_test`: of a user's own layers, what is right passes and what is wrong is named."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.activations import Activation
from keraslip.arithmetic import training
from keraslip.linear import MovingMap
from keraslip.rules import ActivationRule, LinearRule, UnsupportedLayerError
from keraslip.testing import run_rule_test
from keraslip.testing.exported import check_graph
from keraslip.testing.rules import surrounded
from tests.export.nets import needs_tensorflow

IMAGE = (3, 4, 2)


@pytest.fixture
def rule(monkeypatch):
    """Registers rules for this test alone."""
    from keraslip.rules import registry

    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))

    def register(layer, base, **methods):
        return keraslip.register_rule(layer)(type("Rule", (base,), methods))

    return register


class Mirror(layers.Layer):
    """Left and right exchanged."""

    def call(self, x):
        return ops.flip(x, axis=2)


class MirrorMap(MovingMap):
    def forward(self, x):
        return self.arithmetic.flip(x, 2)

    def adjoint(self, y):
        return self.arithmetic.flip(y, 2)


class HalfRows(MirrorMap):
    def row_norms(self, varying=None, tight=False):
        return 0.5 * super().row_norms(varying, tight)


class OtherAxis(MirrorMap):
    def adjoint(self, y):
        return self.arithmetic.flip(y, 1)


class UpsideDown(MirrorMap):
    """Right, but not what the layer does."""

    def forward(self, x):
        return self.arithmetic.flip(x, 1)

    adjoint = forward


class HardTanh(layers.Layer):
    """`min(max(x, -1), 1)`, so that much of it is constant."""

    def call(self, x):
        return ops.clip(x, -0.2, 0.2)


@dataclass(frozen=True, eq=False)
class Clip(Activation):
    limit: float = 0.2
    known: float = 0.2

    def call(self, z):
        return self.arithmetic.minimum(self.arithmetic.maximum(z, -self.limit), self.limit)

    def slopes(self, z, rho, hard):
        xp = self.arithmetic
        constant = (rho <= -self.known - z) | (rho <= z - self.known)
        high = xp.where(constant, xp.zeros_like(z), xp.ones_like(z))
        return self.elementwise(0.0 * high, high)


def test_a_linear_layer_and_an_activation_of_ones_own(rule):
    rule(Mirror, LinearRule, linear_map=lambda self, layer, in_shape: MirrorMap(in_shape))
    run_rule_test(Mirror(), IMAGE, epsilons=(0.1,))
    rule(HardTanh, ActivationRule, kind=lambda self, layer: Clip())
    run_rule_test(HardTanh(), (5,), epsilons=(0.1,))
    run_rule_test(lambda x: HardTanh()(Mirror()(x)), IMAGE, epsilons=(0.3,), modes=("local",))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (HalfRows, r"row norms: too small, .* \(at 'mirror.*'\)"),
        (OtherAxis, "adjoint: it is not the transpose of forward"),
        (UpsideDown, "call: the layers compute something else than their rules say"),
    ],
)
def test_a_wrong_map_is_named(rule, kind, message):
    rule(Mirror, LinearRule, linear_map=lambda self, layer, in_shape: kind(in_shape))
    with pytest.raises(AssertionError, match=f"^{message}"):
        run_rule_test(Mirror(), IMAGE, epsilons=(0.1,))


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        (Clip(known=0.1), r"slopes\(hard=False\): an output moves .* \(at 'hard_tanh.*'\)"),
        (Clip(limit=0.3, known=0.3), "call: the layers compute something else"),
    ],
)
def test_a_wrong_activation_is_named(rule, activation, message):
    rule(HardTanh, ActivationRule, kind=lambda self, layer: activation)
    with pytest.raises(AssertionError, match=f"^{message}"):
        run_rule_test(HardTanh(), (5,), epsilons=(0.1,))


@dataclass(frozen=True, eq=False)
class Branching(Clip):
    """NumPy takes it, a graph does not."""

    def call(self, z):
        plain = self.arithmetic is training or (z == z).all()
        return super().call(z) if plain else z


@needs_tensorflow
def test_a_formula_that_fails_in_a_graph_is_named(rule):
    rule(HardTanh, ActivationRule, kind=lambda self, layer: Branching())
    model = surrounded(HardTanh(), (5,))
    x = np.full((2, 5), 0.1, "float32")
    with pytest.raises(AssertionError, match="^export: a formula fails in the exported graph"):
        check_graph(model, x, 0.1)


@needs_tensorflow
def test_a_graph_that_answers_otherwise_is_named(rule, monkeypatch):
    rule(HardTanh, ActivationRule, kind=lambda self, layer: Clip())
    from keraslip.export.frozen_graph import FrozenPass

    monkeypatch.setattr(FrozenPass, "lipschitz", lambda self: 0.5 * self.epsilon)
    with pytest.raises(AssertionError, match=r"^export: .* \(.*lipschitz\)"):
        check_graph(surrounded(HardTanh(), (5,)), np.full((2, 5), 0.1, "float32"), 0.1)


def test_a_bound_that_leaves_a_unit_out_is_seen_without_its_parts(rule, monkeypatch):
    """The points find it, too."""
    from keraslip.testing import rules

    monkeypatch.setattr(rules, "check_parts", lambda model, seed: None)
    rule(HardTanh, ActivationRule, kind=lambda self, layer: Clip(known=-0.5))
    with pytest.raises(AssertionError, match="^(mask|bound): .*at 'hard_tanh"):
        run_rule_test(HardTanh(), (5,), epsilons=(0.5,))


def test_a_layer_without_a_rule_is_refused():
    with pytest.raises(UnsupportedLayerError, match="Mirror"):
        run_rule_test(Mirror(), IMAGE)


def test_wrong_certificates_are_found(monkeypatch):
    from keraslip.testing.rules import check_certificates

    model = surrounded(lambda x: layers.ReLU()(layers.Dense(6)(x)), (4,))
    x = np.random.default_rng(1).uniform(size=(2, 4)).astype("float32")
    check_certificates(model, x, (0.1,))
    good = model.certify

    def certify(x, **options):
        found = good(x, **options)
        found.margin[:] = np.abs(found.margin) + 1.0
        return found

    monkeypatch.setattr(model, "certify", certify)
    with pytest.raises(AssertionError, match="^certificate: a point of the ball has a margin of"):
        check_certificates(model, x, (0.1,))


def test_weights_are_drawn_anew():
    model = surrounded(keraslip.layers.ClippedReLU(0.5), (6,), seed=3)
    theta, *rest = (keras.ops.convert_to_numpy(w) for w in model.trainable_weights)
    assert np.ptp(theta) > 0.1 and (theta > 0).all()
    assert all(np.ptp(weight) > 0 for weight in rest)
