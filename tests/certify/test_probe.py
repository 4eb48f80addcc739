"""The probe: a layer that is not what its rule says is named, whatever is wrong with it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip import activations
from keraslip.certify import register_operator
from keraslip.certify.bound.network import Network
from keraslip.certify.execution.probe import operations, probe
from keraslip.certify.execution.probe_inputs import images
from keraslip.certify.operators import Proved
from keraslip.certify.operators.kernels import ProvedDiagonal
from keraslip.linear import DenseMap, DiagonalMap, Identity, LinearMap, PermuteMap, ZeroPadMap
from keraslip.rules import ActivationRule, LinearRule, MismatchError, UnsupportedLayerError
from tests.certify.nets import NETS, ClippedReLU, model, network
from tests.harness import model_of

IMAGE = (4, 3, 2)
#: Two backends compile every net: a few of them there.
PROBED = ["skip", "mixed", "means", "channels first", "normalised", "rescaled"]
PROBED = list(NETS) if keras.backend.backend() == "torch" else PROBED


@pytest.mark.parametrize("name", PROBED)
def test_layers_that_are_what_their_rules_say(name):
    made, steps = model(name), network(name)
    probe(made, steps)
    results = probed_operations(made, steps)
    assert [probed.expected.visited for probed in results] == steps.visited
    for probed in results:
        exact = probed.expected.exact
        for executed in probed.executed.values():
            # Not equal: the numbers are the backend's.
            assert executed.dtype == "float32" and executed.shape == exact.shape
            assert np.abs(executed - exact).max() < 0.01 * np.abs(exact).max()


def probed_operations(made, steps):
    rng = np.random.default_rng(0)
    with np.errstate(over="ignore", invalid="ignore"):
        return list(operations(made, steps, images(made, steps, rng), rng))


def test_operations_of_a_large_network_run_block_by_block(monkeypatch):
    made, steps = model("skip"), network("skip")
    at_once = probed_operations(made, steps)
    monkeypatch.setattr("keraslip.certify.execution.probe._AT_ONCE", 1)
    for whole, block in zip(at_once, probed_operations(made, steps), strict=True):
        assert whole.expected.visited is block.expected.visited
        for way, executed in whole.executed.items():
            # Compiled with others or alone; the dense inputs reach a million.
            assert np.abs(executed - block.executed[way]).max() <= 1e-5 * np.abs(executed).max()


def layer_of(call, rule=None, **methods):
    """A layer that computes `call`, with a rule of these methods."""
    made = type("Mine", (layers.Layer,), {"call": lambda self, x: call(x)})
    base = ActivationRule if "kind" in methods else LinearRule
    keraslip.register_rule(made)(type("MineRule", (base,), methods))
    return made(name="mine")


def linear(call, linear_map, bias=None):
    methods = {"linear_map": lambda self, layer, shape: linear_map(shape)}
    if bias is not None:
        methods["bias"] = lambda self, layer: ops.convert_to_tensor(bias)
    return layer_of(call, **methods)


def activation(call, kind):
    return layer_of(call, kind=lambda self, layer: kind)


def full(value):
    return lambda shape: DiagonalMap(ops.full((1,), value), shape)


def clipped(theta):
    return activations.ClippedReLU(None if theta is None else ops.full((1,), theta))


def padded(*sides):
    return lambda x: ops.pad(x, ((0, 0), *sides, (0, 0)))


KERNEL = np.random.default_rng(3).normal(size=(2, 2)).astype("float32")
OFF = np.array([[0, 0], [0, 1e-4]], "float32")
MUTATIONS = {
    "map": lambda: linear(lambda x: 2.0 * x, full(2.001)),
    "sign": lambda: linear(lambda x: -x, full(1.0)),
    "one coefficient": lambda: linear(
        lambda x: x @ ops.convert_to_tensor(KERNEL),
        lambda shape: DenseMap(ops.convert_to_tensor(KERNEL + OFF), shape),
    ),
    "no bias": lambda: linear(lambda x: 2.0 * x + 0.01, full(2.0)),
    "bias": lambda: linear(lambda x: 2.0 * x + 1.0, full(2.0), [1.0, 1.0001]),
    "pad": lambda: linear(
        padded((1, 0), (0, 0)), lambda shape: ZeroPadMap(shape, ((0, 1), (0, 0), (0, 0)))
    ),
    "order": lambda: linear(
        lambda x: ops.flip(x, axis=1), lambda shape: PermuteMap(shape, (0, 1, 2))
    ),
    "not linear": lambda: linear(lambda x: x + 0.1 * x * x, full(1.0)),
    "samples mixed": lambda: linear(lambda x: x - ops.mean(x, axis=0), full(1.0)),
    "threshold": lambda: activation(lambda x: ops.clip(x, 0.0, 0.5), clipped(0.51)),
    "threshold far away": lambda: activation(lambda x: ops.clip(x, 0.0, 900.0), clipped(None)),
    "leak": lambda: activation(lambda x: ops.leaky_relu(x, 1e-3), clipped(None)),
    "kind": lambda: activation(ops.abs, clipped(None)),
    "pairs": lambda: activation(ops.relu, activations.MaxMin(None, None, -1)),
    "axis": lambda: activation(
        keraslip.layers.MaxMin().call, activations.MaxMin(None, None, 1)
    ),
}  # fmt: skip


def net_with(layer):
    return model_of(layer, IMAGE)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_rule_that_is_wrong(name):
    made = net_with(MUTATIONS[name]())
    with pytest.raises(MismatchError, match="Mine at 'mine' does not compute what its rule says"):
        probe(made, Network(made))


def test_a_rule_with_another_shape():
    made = net_with(linear(padded((1, 0), (0, 0)), Identity))
    with pytest.raises(
        UnsupportedLayerError, match="'mine' .* or its rule is wrong: it gives another shape"
    ):
        Network(made)


def test_a_layer_whose_call_was_replaced():
    made = net_with(layers.Rescaling(2.0, name="mine"))
    probe(made, Network(made))
    made.get_layer("mine").call = lambda x: 2.0 * x + 0.1
    with pytest.raises(MismatchError, match="Rescaling at 'mine'"):
        probe(made, Network(made))


@pytest.mark.parametrize("factor", [2.0, np.nan, np.inf])
@pytest.mark.parametrize("acts", [lambda n: n == 1, lambda n: n > 16], ids=["alone", "many"])
def test_a_layer_that_acts_on_the_size_of_the_batch(acts, factor):
    """The probe's own batches are of neither size."""

    def call(x):
        size = x.shape[0]
        return x * (factor if isinstance(size, int) and acts(size) else 1.0)

    made = net_with(linear(call, full(1.0)))
    x = np.random.default_rng(0).uniform(size=(3, *IMAGE)).astype("float32")
    with pytest.raises(
        MismatchError, match="acts on the size of the batch|something else than its rule"
    ):
        made.certify(x, epsilon=1e-3, verbose=False)


def test_coefficients_that_are_not_finite_are_named():
    layer = layers.BatchNormalization(name="mine")
    made = net_with(layer)
    layer.moving_variance.assign([-1.0, -1.0])
    with pytest.raises(MismatchError, match="'mine': its coefficients are not finite"):
        probe(made, Network(made))


def test_every_door_is_behind_the_probe(tmp_path):
    made = net_with(MUTATIONS["threshold"]())
    x = np.random.default_rng(0).uniform(size=(3, *IMAGE)).astype("float32")
    for door in (
        lambda: made.certify(x, epsilon=0.1),
        lambda: made.local_lipschitz(x, epsilon=0.1),
        lambda: made.export(tmp_path / "served", verbose=False),
    ):
        with pytest.raises(NotImplementedError, match="at 'mine'.*Remedy: "):
            door()
    assert not list(tmp_path.iterdir())


def test_nested_and_shared_layers_have_a_place():
    inner = keras.Sequential([layers.Dense(6), MUTATIONS["no bias"]()], name="inner")
    made = model_of(lambda x: ClippedReLU(1.0)(inner(ClippedReLU(1.0)(layers.Dense(6)(x)))), (6,))
    with pytest.raises(MismatchError, match="at 'inner/mine'"):
        probe(made, Network(made))
    shared = layers.Dense(6, activation="relu")
    made = model_of(lambda x: shared(layers.Dropout(0.5)(shared(x))) + x, (6,))
    probe(made, Network(made))
    paths = [visited.call.path for visited in Network(made).visited]
    assert len(set(paths)) == len(paths) >= 5


class Mine(DiagonalMap):
    """A map of this file, for operators that are wrong."""


class WrongAdjoint(ProvedDiagonal):
    def adjoint(self, y):
        return -super().adjoint(y)


class WrongRows(ProvedDiagonal):
    def row_norms(self, columns=None):
        return 0.9 * super().row_norms(columns)


class WrongMagnitude(ProvedDiagonal):
    @property
    def absolute(self):
        return ProvedDiagonal(self.map.each(lambda scale: 0.9 * np.abs(scale)), 0.0)


class WrongNorm(ProvedDiagonal):
    def build_norm(self):
        return 0.9 * super().build_norm()


@pytest.mark.parametrize(
    ("operator", "problem"),
    [
        (ProvedDiagonal, None),
        (WrongAdjoint, "adjoint"),
        (WrongRows, "row norms"),
        (WrongMagnitude, "absolute"),
        (WrongNorm, "its norm"),
    ],
)
def test_an_operator_that_contradicts_itself(operator, problem, monkeypatch):
    from keraslip.certify.operators import proved as registry

    def build(linear_map: LinearMap) -> Proved:
        return operator(linear_map)

    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    register_operator(Mine)(build)
    made = net_with(linear(lambda x: 2.0 * x, lambda shape: Mine(ops.full((1,), 2.0), shape)))
    if problem is None:
        probe(made, Network(made))
    else:
        with pytest.raises(MismatchError, match=problem):
            probe(made, Network(made))


def test_pending_maps_are_those_of_the_steps(monkeypatch):
    """A composition that forgets one of its maps."""
    monkeypatch.setattr("keraslip.certify.bound.trace.compose", lambda outer, inner: outer)
    made = model_of(lambda x: ClippedReLU(0.5)(layers.Dense(6)(layers.Dense(6)(x))), (6,))
    with pytest.raises(MismatchError, match="not the product of its steps"):
        probe(made, Network(made))


@pytest.mark.parametrize("factor", [1e30, 2.0**66, 2.0**-66, 0.0])
def test_numbers_of_any_size(factor):
    """Weights near both ends of float32 are no mismatch."""
    dense = [layers.Dense(6, activation="relu") for _ in range(2)]
    made = model_of(lambda x: dense[1](dense[0](x)), (6,))
    for weight in made.trainable_weights:
        weight.assign(weight * factor)
    probe(made, Network(made))
