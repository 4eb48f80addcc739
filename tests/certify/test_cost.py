"""What `check_model` says a certificate costs, against what is counted: products and bytes, no clock."""

import io
import tracemalloc

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import keraslip
from keraslip.certify.bound.evaluate import Evaluator, rows_at_once
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import LinearNode
from keraslip.certify.norms.rounding import Execution
from keraslip.certify.run import cost as module
from keraslip.certify.run.cost import PER_ENTRY, cost_of

pytestmark = pytest.mark.any_backend("sizes of layers, and NumPy")


@pytest.fixture(scope="module")
def model():
    """Plain, strided, grouped and pointwise convolutions, a residual sum and two dense layers."""
    x = start = keras.Input((12, 12, 3))
    for filters, kernel, options in ((8, 3, {}), (16, 4, {"strides": 2}), (16, 3, {"groups": 2})):
        x = layers.Conv2D(filters, kernel, padding="same", **options)(x)
        x = keraslip.layers.ClippedReLU()(x)
    x = layers.Add()([x, layers.Conv2D(16, 1)(x)])
    x = keraslip.layers.MaxMin()(x)
    x = layers.Dense(32, activation="relu")(layers.Flatten()(x))
    return keraslip.LocalLipschitzModel(start, layers.Dense(10)(x))


def test_products_are_the_coefficients_of_the_operators(model):
    counted = 0
    for node in Network(model).nodes:
        if isinstance(node, LinearNode) and not node.operator.moves:
            counted += np.count_nonzero(node.operator.written[0])
    # Taps that fall on the padding are counted by the estimate.
    assert counted <= cost_of(model).products <= 1.5 * counted


def test_memory_is_that_of_a_pass(model):
    network = Network(model)
    for _, operator in network.operators():
        assert operator.norm > 0.0  # what is kept for good is no part of the pass
    rows = rows_at_once(network.widest, network.entries, 256)
    x = np.random.default_rng(0).random((rows, 12, 12, 3)).astype("float32")
    evaluate = Evaluator(network, Execution.of("float32"))
    evaluate(x[:2], np.zeros(2, int), np.ones(2), backwards=True)
    tracemalloc.start()
    evaluate(x, np.zeros(rows, int), np.full(rows, 0.1), backwards=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    said = PER_ENTRY * network.entries * rows
    assert said / 2 <= peak <= 2 * said


def test_wider_layers_cost_more():
    def of(width):
        parts = [keras.Input((8, 8, 3)), layers.Conv2D(width, 3), layers.Flatten()]
        return cost_of(keras.Sequential([*parts, layers.Dense(10 * width), layers.Dense(10)]))

    narrow, wide = of(8), of(32)
    assert wide.once > 4 * narrow.once and wide.products > 4 * narrow.products
    assert wide.memory > narrow.memory


@pytest.mark.parametrize(("there", "warned"), [(1e6, True), (1e15, False), (None, False)])
def test_check_model_warns_of_too_little_memory(model, there, warned, monkeypatch):
    monkeypatch.setattr(module, "memory_of_machine", lambda: there)
    text = io.StringIO()
    assert keraslip.check_model(model, Console(file=text, width=250))
    said = text.getvalue()
    assert "A certificate takes about" in said and "an image" in said
    assert ("Remedy: smaller images" in said) == warned
