"""Rounding: executions with far fewer bits than float32 stay within what a pass allows."""

import keras
import numpy as np
import pytest

import keraslip
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, LinearNode
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import Execution
from tests.certify.nets import (
    FLOAT32,
    NETS,
    _activated,
    ball,
    dense_model,
    evaluated,
    forward,
    inputs,
    network,
    weights_alone,
)

pytestmark = weights_alone


def rounded(x, bits):
    """To the nearest number of so many significant bits: unit roundoff `2^-bits`."""
    fraction, exponent = np.frexp(x)
    return np.ldexp(np.round(np.ldexp(fraction, bits)), exponent - bits)


def matrix_of(operator):
    basis = np.eye(operator.inputs).reshape(-1, *operator.in_shape)
    return operator.forward(basis).reshape(operator.inputs, -1)


def emulated(net, x, bits, seed=None):
    """The logits if every operation rounded to so many bits, summed one product after the other.

    Args:
        net: The network.
        x: Points.
        bits: Significant bits.
        seed: Shuffles the order of the sums; as they come if None.
    """
    values = {0: rounded(np.asarray(x, "float64"), bits)}
    for node in net.nodes[1:]:
        read = [values[source.index] for source in node.sources]
        if isinstance(node, LinearNode):
            out = node.operator.forward(read[0])
            if not node.operator.moves:
                out = _summed(node, read[0].reshape(len(x), -1), bits, seed).reshape(out.shape)
        elif isinstance(node, ActivationNode):
            out = _activated(node, read[0])
            if node.activation.roundings:
                out = rounded(out, bits)
        else:
            out = read[0]
            for part in [*read[1:], *([] if node.constant is None else [node.constant])]:
                out = rounded(out + part, bits)
        values[node.index] = out
    return values[net.logits.index]


def _summed(node, flat, bits, seed):
    matrix = matrix_of(node.operator)
    total = np.zeros((len(flat), matrix.shape[1]))
    if node.bias is not None:
        total += np.broadcast_to(node.bias, (1, *node.shape)).reshape(1, -1)
    order = np.arange(len(matrix))
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    else:
        total, last = np.zeros_like(total), total
    for k in order:
        total = rounded(total + rounded(flat[:, k : k + 1] * matrix[k], bits), bits)
    return total if seed is not None else rounded(total + last, bits)


@pytest.mark.parametrize("bits", [8, 11])
@pytest.mark.parametrize("name", NETS)
def test_emulated_executions_are_within_the_error(name, bits):
    net, x = network(name), inputs(name)
    execution = Execution(2.0**-bits, 0.0)
    exact = forward(net, x)[net.logits.index]
    got = evaluated(net, x, 0, 0.0, execution=execution)
    epsilon, distances = 0.2, []
    for seed in (None, 1, 2):
        distances.append(np.abs(emulated(net, x, bits, seed) - exact))
        assert (distances[-1] <= got.error).all()
    assert np.max(distances) > 2.0 ** -(bits + 3)  # it does round
    points = ball(net, x, epsilon, 4)
    flat = points.reshape(-1, *x.shape[1:])
    logits = emulated(net, flat, bits).reshape(*points.shape[:2], -1)
    for label in range(net.classes):
        margins = evaluated(net, x, label, epsilon, "dense", execution=execution).margins
        others = np.arange(net.classes) != label
        gaps = (logits[..., [label]] - logits)[..., others]
        assert (gaps >= margins.each[:, None, others]).all()


@pytest.mark.parametrize("name", NETS)
def test_boxes_and_balls_hold_in_emulated_executions(name):
    """Also in the middle of the network: a unit that counts as constant may not move by rounding."""
    net, x, bits, epsilon = network(name), inputs(name, 1), 8, 0.1
    found = SoundPass(
        net, x.astype("float64"), np.full(1, epsilon), global_norms, Execution(2.0**-8, 0)
    )
    flat = ball(net, x, epsilon, 4)[0]
    for node in net.nodes[1:]:
        part = Network.__new__(Network)
        part.nodes, part.logits = [n for n in net.nodes if n.index <= node.index], node
        moved = emulated(part, flat, bits) - forward(net, x)[node.index]
        if not isinstance(node, ActivationNode):
            assert (np.abs(moved) <= found.box(node)).all(), node.name
            continue
        for view in found.balls[node.index].views:
            columns = np.ones_like(moved[:1]) if view.columns is None else view.columns
            assert (moved * (columns == 0) == 0).all()
            inner = np.divide(moved, columns, out=np.zeros_like(moved), where=columns > 0)
            reach = view.reach.at(found.epsilon)[0]
            assert np.linalg.norm(inner.reshape(len(moved), -1), axis=1).max() <= reach


def assert_emulated(net, x, execution, bits=8):
    exact = forward(net, x)[net.logits.index]
    got = evaluated(net, x, 0, 0.0, execution=execution)
    assert (np.abs(emulated(net, x, bits) - exact) <= got.error).all()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("bits", [8, 11])
def test_without_rounding_terms_the_emulation_is_outside(name, bits):
    net, x = network(name), inputs(name)
    with pytest.raises(AssertionError):
        assert_emulated(net, x, Execution(0.0, 0.0), bits)


def test_numbers_that_may_overflow_certify_nothing():
    """In float32 a sum near 3e38 may be infinite, and infinity minus itself is NaN."""
    large = dense_model([np.array([[1e30, -1e30], [0.0, 0.0]])], [np.array([1e38, 0.0])])
    net, x = Network(large), np.zeros((1, 2), "float32")
    for epsilon, fits in ((1e6, True), (1e9, False)):
        got = evaluated(net, x, 0, epsilon, execution=FLOAT32)
        assert (got.margins.least > 0).all() == fits
        assert np.isfinite(got.error).all() == fits
    # The ideal network knows no largest number: there the bias decides.
    assert (evaluated(net, x, 0, 1e7).margins.least > 0).all()
    dead = Network(dense_model([np.ones((3, 2)), np.ones((2, 3))], [np.zeros(3), [1, 0]], 0.0))
    for epsilon, fits in ((1e30, True), (1e39, False)):
        got = evaluated(dead, x, 0, epsilon, execution=FLOAT32)
        assert (got.margins.least > 0).all() == fits


def test_numbers_that_may_be_flushed_are_counted():
    """Below 2^-126 float32 may take zero for an input, a product or a sum."""
    tiny = 2.0**-127
    net = Network(dense_model([np.array([[2.0**60], [0.0]])]))
    x = np.array([[tiny]], "float32")
    assert x[0, 0] > 0
    got = evaluated(net, x, 0, 0.0, execution=FLOAT32)
    # If the input counts as zero, so does the logit.
    assert got.error[0, 0] >= got.logits[0, 0] > 0
    assert evaluated(net, x, 0, 0.0).error[0, 0] < 1e-10 * got.logits[0, 0]
    small = Network(dense_model([np.full((2, 3), 2.0**-80)]))
    x = np.full((1, 3), 2.0**-60, "float32")
    got = evaluated(small, x, 0, 0.0, execution=FLOAT32)
    assert (got.error >= got.logits).all() and (got.logits > 0).all()


def test_rounding_of_a_map_that_a_rule_composes():
    """The second of two maps rounds what the first one made: magnitudes multiply, not norms."""
    from keraslip.certify.operators import prove
    from keraslip.linear import Composition, DenseMap
    from tests.harness import tensor

    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2.0
    pair = [DenseMap(tensor(m), (4,)) for m in (signs, np.ones((4, 1)))]
    operator = prove(Composition(pair[1], pair[0]))
    row = np.abs(signs) @ np.ones((4, 1))
    assert operator.signless.row_norms()[0, 0] >= np.linalg.norm(row)
    assert operator.row_norms()[0, 0] < np.linalg.norm(row)


def test_rounding_to_bits():
    """The emulation itself: ties go to even, and nothing moves by more than the unit roundoff."""
    x = np.random.default_rng(0).standard_normal(1000)
    for bits in (8, 11, 24):
        assert (np.abs(rounded(x, bits) - x) <= 2.0**-bits * np.abs(x)).all()
        assert (np.abs(rounded(x, bits) - x) > 2.0 ** -(bits + 3) * np.abs(x)).any()
    np.testing.assert_array_equal(rounded(x, 24), x.astype("float32"))
    np.testing.assert_array_equal(rounded(np.array([0.0, 257.0]), 8), [0.0, 256.0])


@pytest.mark.parametrize("clip", [0.1, 0.5])
@pytest.mark.parametrize("kind", ["relu", "maxmin"])
def test_a_clip_of_float64_that_float32_rounds(clip, kind):
    """A layer in float64 keeps it inside of a network in float32, whose next layer rounds it."""
    start = keras.Input((2,))
    made = {
        "relu": keraslip.layers.ClippedReLU(clip, dtype="float64"),
        "maxmin": keraslip.layers.ClippedMaxMin(clip, -clip, dtype="float64"),
    }[kind]
    x = made(keras.layers.Dense(2, dtype="float64")(start))
    net = Network(keraslip.LocalLipschitzModel(start, keras.layers.Dense(2)(x)))
    (node,) = net.activations.values()
    assert isinstance(node.activation.call(np.ones((1, 2))), np.ndarray)
    rounds = float(np.float32(clip)) != clip
    assert bool(node.activation.roundings) == rounds
    found = SoundPass(net, np.full((1, 2), 9.0), np.zeros(1), global_norms, FLOAT32)
    off = np.abs(np.float32(found.centers[node.index]) - found.centers[node.index])
    assert (off <= found.errors[node.index]).all() and (
        found.errors[node.index] > 0.0
    ).all() == rounds
