"""Executions judged by their mean error: honest float32 is never refused, fewer digits always."""

import contextlib
import functools

import keras
import numpy as np
import pytest
from keras import layers

import keraslip
from keraslip import backend
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, LinearNode
from keraslip.certify.execution import block, emulation, executed
from keraslip.certify.execution.emulation import emulate
from keraslip.certify.execution.executed import EXCESS, Executed
from tests.certify.nets import NETS, dense_model, inputs, model, network
from tests.harness import model_of

#: Digits of the mantissa, the leading one included.
BFLOAT16, TF32 = 8, 11
QUIET = {"verbose": False, "workers": 1, "batch_size": 16}
REFUSED = "computes in less than float32"


def rounded(x, digits):
    mantissa, exponent = np.frexp(np.asarray(x, "float64"))
    return np.ldexp(np.round(mantissa * 2.0**digits), exponent - digits)


def reduced(net, x, digits):
    """Logits of products whose factors have few digits, summed exactly: as on accelerators."""
    values = {0: x.astype("float64")}
    for node in net.nodes[1:]:
        read = [values[source.index] for source in node.sources]
        if isinstance(node, ActivationNode):
            out = node.activation.call(read[0])
        elif isinstance(node, LinearNode):
            linear_map = node.operator.map
            if hasattr(linear_map, "kernel"):
                linear_map = linear_map.each(lambda part: rounded(part, digits))
                read = [rounded(read[0], digits)]
            out = linear_map.forward(*read)
            out = out if node.bias is None else out + node.bias
        else:
            out = sum(read) if node.constant is None else sum(read) + node.constant
        values[node.index] = out
    return values[net.logits.index].astype("float32")


def excess(made, x):
    return emulate(Network(made), x).excess(Executed(made, 16).logits(x))


@pytest.mark.parametrize("name", NETS)
def test_float32_is_near_and_fewer_digits_are_far(name):
    x, net = inputs(name, 16), network(name)
    logits = Executed(model(name), 16).logits(x)
    for count in (16, 2, 1):  # few samples are judged as well
        found = emulate(net, x[:count])
        assert found.excess(logits[:count]) < 5
        assert found.excess(reduced(net, x[:count], TF32)) > 3 * EXCESS
        assert found.excess(reduced(net, x[:count], BFLOAT16)) > 30 * EXCESS


X = np.random.default_rng(0).uniform(size=(16, 6)).astype("float32")
RNG = np.random.default_rng(1)
WEIGHTS = [RNG.normal(size=shape) / 2 for shape in ((8, 6), (8, 8), (3, 8))]
BIASES = [RNG.normal(size=n) / 10 for n in (8, 8, 3)]
ZEROS = [0 * b for b in BIASES]


@functools.cache
def layered():
    """One network for many weights, compiled once."""
    return dense_model(WEIGHTS, BIASES, theta=None)


def weighted(weights=WEIGHTS, biases=BIASES):
    made = layered()
    dense = [layer for layer in made.layers if isinstance(layer, layers.Dense)]
    for layer, weight, bias in zip(dense, weights, biases, strict=True):
        layer.set_weights([weight.T, bias])
    return made


def scaled(weights, biases=1.0):
    return weighted([weights * w for w in WEIGHTS], [biases * b for b in BIASES])


def many_of_one_sign():
    """A sum of 16200 positive terms, which grows with every one."""
    made = model_of(lambda x: layers.Flatten()(x), (90, 90, 2))
    kernel = made.layers[-1].kernel
    kernel.assign(np.abs(keras.ops.convert_to_numpy(kernel)))
    return made, np.random.default_rng(0).uniform(size=(4, 90, 90, 2)).astype("float32")


DEGENERATE = {
    "tiny weights": lambda: (scaled(2.0**-66, 2.0**-66), X),
    "subnormal weights": lambda: (scaled(2.0**-130, 2.0**-130), X),
    "products that are subnormal": lambda: (scaled(2.0**-42, 0.0), X),
    "huge weights": lambda: (scaled(2.0**40, 2.0**40), X),
    "overflow": lambda: (scaled(2.0**60), X),
    "subnormal inputs": lambda: (scaled(1.0, 0.0), np.float32(2.0**-130) * X),
    "huge inputs": lambda: (scaled(1.0), np.float32(2.0**120) * X),
    "inputs of all sizes": lambda: (
        scaled(1.0),
        (X * 10.0 ** np.linspace(-20, 20, 16)[:, None]).astype("float32"),
    ),
    "constant": lambda: (scaled(0.0), X),
    "zero": lambda: (scaled(0.0, 0.0), X),
    "dead units": lambda: (weighted(WEIGHTS, [-100 * np.ones(8), *BIASES[1:]]), X),
    "inputs of zero": lambda: (scaled(1.0), 0 * X),
    "nothing is rounded": lambda: (weighted([np.sign(w) for w in WEIGHTS], ZEROS), np.round(X)),
    "cancelling weights": lambda: (
        weighted([WEIGHTS[0] * [1e4, -1e4, 1, 1, 1, 1], *WEIGHTS[1:]]),
        (1 + 1e-6 * X).astype("float32"),
    ),
    "biases above all": lambda: (scaled(1.0, 1e6), X),
    "far from the mean": lambda: (
        model_of(lambda x: layers.Normalization(mean=[1e4] * 6, variance=[1.0] * 6)(x), (6,)),
        (1e4 + X).astype("float32"),
    ),
    "offset that cancels": lambda: (
        model_of(lambda x: layers.Rescaling(1e4, -1e4)(x), (6,)),
        (1 + 1e-5 * X).astype("float32"),
    ),
    "bytes": lambda: (
        model_of(lambda x: layers.Rescaling(1 / 255)(x), (6,)),
        np.round(255 * X),
    ),
    "a sum of many of one sign": many_of_one_sign,
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_an_honest_execution_is_not_refused(name):
    made, x = DEGENERATE[name]()
    for rows in (x, x[:1]):
        assert not excess(made, rows) > EXCESS / 2


def sums_one_by_one(kernel, x):
    return np.cumsum(x[:, :, None] * kernel[None], axis=1, dtype="float32")[:, -1]


@pytest.mark.parametrize("sign", ["one sign", "both signs"])
def test_sums_one_by_one_are_honest(sign):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4096, 3)).astype("float32")
    kernel = np.abs(kernel) if sign == "one sign" else kernel
    x = rng.uniform(size=(8, 4096)).astype("float32")
    found = emulate(Network(dense_model([kernel.T])), x)
    assert found.excess(sums_one_by_one(kernel, x)) < EXCESS / 2


def winograd(kernel, x):
    """One tile of F(4 x 4, 3 x 3), all in float32."""
    before = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0]]
    before += [[0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
    weights = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]
    after = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
    b, a = np.array(before, "float32"), np.array(after, "float32")
    g = np.array(weights, "float32") / np.float32(24)
    tile = np.einsum("ui,nijc,vj->nuvc", b, x, b)
    taps = np.einsum("ui,ijco,vj->uvco", g, kernel, g)
    return np.einsum("pu,nuvo,qv->npqo", a, np.einsum("nuvc,uvco->nuvo", tile, taps), a)


def fourier(kernel, x):
    """A convolution by the Fourier transform in float32."""
    from scipy import fft

    transformed = fft.rfft2(x, axes=(1, 2)), fft.rfft2(kernel[::-1, ::-1], (6, 6), axes=(0, 1))
    product = np.einsum("nuvc,uvco->nuvo", *transformed)
    return fft.irfft2(product, (6, 6), axes=(1, 2))[:, 2:, 2:]


@pytest.mark.parametrize("method", [winograd, fourier])
@pytest.mark.parametrize("channels", [1, 16])
def test_fast_convolutions_are_no_reduced_precision(method, channels):
    start = keras.Input((6, 6, channels))
    made = keraslip.LocalLipschitzModel(start, layers.Flatten()(layers.Conv2D(4, 3)(start)))
    kernel = keras.ops.convert_to_numpy(made.trainable_weights[0])
    x = np.random.default_rng(0).normal(size=(16, 6, 6, channels)).astype("float32")
    logits = method(kernel, x)
    assert logits.dtype == "float32"
    found = emulate(Network(made), x)
    assert np.abs(logits.reshape(16, -1) - found.exact).max() < 1e-4
    assert found.excess(logits.reshape(16, -1)) < EXCESS / 2


@contextlib.contextmanager
def switched():
    """A switch of the backend that this processor obeys."""
    name = keras.backend.backend()
    if name == "torch":
        import torch

        with torch.autocast("cpu"):
            yield
    elif name == "jax":
        import jax

        with jax.default_matmul_precision("F16_F16_F16"):
            yield
    else:
        import tensorflow as tf

        option = "auto_mixed_precision_onednn_bfloat16"
        tf.config.optimizer.set_experimental_options({option: True})
        try:
            yield
        finally:
            tf.config.optimizer.set_experimental_options({option: False})


@pytest.fixture
def nameless(monkeypatch):
    """Switches have no names: what is left is what they do."""
    monkeypatch.setattr(backend, "reduced_precision", lambda: None)


def wide():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape) / 8 for shape in ((64, 64), (64, 64), (3, 64))]
    return dense_model(weights, theta=None), rng.uniform(size=(16, 64)).astype("float32")


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_what_a_switch_does_is_seen_without_its_name(nameless, arithmetic):
    made, x = wide()
    honest = Executed(made, 16).logits(x)
    with switched():
        if np.abs(Executed(made, 16).logits(x) - honest).max() < 1e-4:
            pytest.skip("this processor does not obey the switch")
        with pytest.raises(ValueError, match=REFUSED):
            made.certify(x, epsilon=0.0, arithmetic=arithmetic, **QUIET)
    assert made.certify(x, epsilon=0.0, **QUIET).certified.all()


@pytest.mark.parametrize("digits", [TF32, BFLOAT16])
@pytest.mark.parametrize("from_run", [0, 2])
def test_fewer_digits_in_a_part_of_the_run_are_seen(monkeypatch, digits, from_run):
    """All runs, or those of the second block and later; the first run is that of the probes."""
    made, x, honest, runs = model("clipped"), inputs("clipped", 8), Executed.logits, []

    def logits(self, x):
        runs.append(x)
        return honest(self, x) if len(runs) <= from_run else reduced(network("clipped"), x, digits)

    monkeypatch.setattr(block, "SIZE", 4)
    monkeypatch.setattr(Executed, "logits", logits)
    with pytest.raises(ValueError, match=REFUSED):
        made.certify(x, epsilon=0.0, effort="frozen", **QUIET)
    assert len(runs) == from_run + 1


def test_what_is_not_finite_says_something_far_from_overflow():
    net, x = network("clipped"), inputs("clipped", 3)
    found, logits = emulate(net, x), Executed(model("clipped"), 16).logits(x)
    assert found.safe.all() and found.excess(logits) < 5
    logits[1] = np.nan
    assert found.excess(logits) == np.inf
    executed.check_rounding(net, x, logits)  # what is not certified anyway


def test_what_is_not_finite_says_nothing_near_overflow():
    net, x = network("clipped"), inputs("clipped", 3) * np.float32(1e36)
    found, logits = emulate(net, x), Executed(model("clipped"), 16).logits(x)
    assert not found.safe.any()
    logits[:] = np.inf
    assert not found.excess(logits) > 0
    executed.check_rounding(net, x, logits)


def test_wide_networks_are_run_on_fewer_samples(monkeypatch):
    net = network("clipped")
    assert emulation.rows_of(net) == 16
    monkeypatch.setattr(emulation, "_MEMORY", 1)
    assert emulation.rows_of(net) == 4
