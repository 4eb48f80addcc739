"""Operators against the Keras layers they stand for, and their norms against singular values."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keraslip import LocalLipschitzModel
from keraslip.arithmetic import float64
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.norm_sources import global_norms, probabilistic
from keraslip.certify.operators import (
    add,
    compose,
    matrices,
    prove,
    proved,
    register_operator,
    simplified,
)
from keraslip.certify.operators.algebra import Chain, Total, stack
from keraslip.certify.operators.fixed import ProvedMoving
from keraslip.certify.operators.kernels import ProvedConv, ProvedDense, ProvedDiagonal, band_of
from keraslip.linear import (
    AdjointMap,
    AveragePoolMap,
    Composition,
    ConvGeometry,
    ConvMap,
    DenseMap,
    DiagonalMap,
    Identity,
    MeanMap,
    ReshapeMap,
    Sum,
    ZeroPadMap,
)
from keraslip.rules import rule_for
from tests.cases import NETS
from tests.certify.nets import network
from tests.certify.operators import (
    Shuffled,
    conv_operator,
    dense_operator,
    diagonal_operator,
    reshaping,
)
from tests.harness import tensor
from tests.reference.helpers import materialise

pytestmark = pytest.mark.any_backend(
    "NumPy; tests/bounds/test_maps.py holds what a backend makes of every geometry to its definition, "
    "tests/rules/test_cases.py the certifier's network to what runs"
)
RNG = np.random.default_rng


def matrix_of(operator):
    """`(outputs, inputs)` from the forward application."""
    basis = np.eye(operator.inputs).reshape(operator.inputs, *operator.in_shape)
    images = operator.forward(basis)
    assert images.shape == (operator.inputs, *operator.out_shape)
    return images.reshape(operator.inputs, -1).T


def norm_of(matrix):
    return np.linalg.norm(matrix, 2) if matrix.size else 0.0


def random_weights(rng, shape):
    """Weights in [0, 1], many of them 0 or 1, as slopes are."""
    return np.clip(rng.uniform(-0.7, 1.7, shape), 0, 1)


def check(operator, seed=0, tight=1.003, tight_rows=True):
    """Everything an operator promises."""
    rng, matrix = RNG(seed), matrix_of(operator)
    back = operator.adjoint(np.eye(operator.outputs).reshape(-1, *operator.out_shape))
    assert back.shape == (operator.outputs, *operator.in_shape)
    scale = 1e-13 * (np.abs(matrix).max() + 1e-300)
    np.testing.assert_allclose(back.reshape(matrix.shape), matrix, rtol=1e-12, atol=scale)
    x, y = (rng.standard_normal((2, *s)) for s in (operator.in_shape, operator.out_shape))
    left = (operator.forward(x) * y).reshape(2, -1).sum(axis=1)
    right = (x * operator.adjoint(y)).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(left, right, rtol=1e-10, atol=scale * 1e3)
    magnitude = matrix_of(operator.absolute)
    assert (magnitude >= np.abs(matrix) * (1 - 1e-12) - scale).all()
    assert operator.absolute_norm >= norm_of(magnitude) * (1 - 1e-12)
    assert operator.terms >= (np.abs(matrix) > scale).sum(axis=1).max() or operator.moves
    truth = norm_of(matrix)
    assert truth * (1 - 1e-12) <= operator.norm <= truth * tight
    assert_rows(operator, matrix, rng, tight_rows)
    assert_local(operator, matrix, rng)


def assert_rows(operator, matrix, rng, tight):
    shape = (2, *operator.out_shape)
    found = np.broadcast_to(operator.row_norms(), shape).reshape(2, -1)
    true = np.linalg.norm(matrix, axis=1)
    assert (found >= true * (1 - 1e-12)).all()
    if tight:
        assert found.max() <= true.max() * (1 + 1e-5)
    columns = random_weights(rng, (2, *operator.in_shape))
    found = np.broadcast_to(operator.row_norms(columns), shape).reshape(2, -1)
    for got, weights in zip(found, columns.reshape(2, -1), strict=True):
        assert (got >= np.linalg.norm(matrix * weights, axis=1) * (1 - 1e-12)).all()


def assert_local(operator, matrix, rng):
    for _ in range(3):
        rows = random_weights(rng, operator.out_shape)
        columns = random_weights(rng, operator.in_shape)
        block = rows.reshape(-1, 1) * matrix * columns.reshape(-1)
        found = operator.local_norm(rows, columns)
        assert found >= norm_of(block) * (1 - 1e-12)
        if isinstance(operator, ProvedDense | ProvedConv | ProvedDiagonal | ProvedMoving):
            assert found <= norm_of(block) * 1.003
        known = global_norms(operator, rows[None], columns[None])
        assert known.shape == (1,) and known[0] >= norm_of(block) * (1 - 1e-12)
    nothing = np.zeros(operator.out_shape)
    assert operator.local_norm(nothing, np.ones(operator.in_shape)) == 0.0
    assert operator.local_norm(np.ones(operator.out_shape), np.zeros(operator.in_shape)) == 0.0


def operator_for(layer, in_shape, seed=0):
    """A layer with random weights, and its operator."""
    layer.build((None, *in_shape))
    for weight in layer.trainable_weights:
        weight.assign(RNG(seed).standard_normal(weight.shape))
    return prove(rule_for(layer).linear_map(layer, in_shape))


def check_layer(layer, in_shape, seed=0, **kwargs):
    operator = operator_for(layer, in_shape, seed)
    executed, _ = materialise(layer, in_shape)
    matrix = matrix_of(operator)
    np.testing.assert_allclose(matrix, executed, rtol=1e-5, atol=1e-6)
    # Coefficients differ by no more than the slack that the operator admits.
    assert (np.abs(matrix - executed) <= (operator.slack + 2e-7) * np.abs(executed)).all()
    check(operator, seed, **kwargs)
    return operator


@pytest.mark.parametrize("in_shape", [(6,), (3, 5), (3, 2, 4)])
def test_dense(in_shape):
    check_layer(layers.Dense(7), in_shape)
    check_layer(layers.Dense(3, use_bias=False), in_shape, seed=1)


@pytest.mark.parametrize("format", ["channels_last", "channels_first"])
def test_convolution_in_both_layouts(format):
    shape = (6, 5, 2) if format == "channels_last" else (2, 6, 5)
    for kwargs in ({"strides": 2}, {"padding": "same"}, {"groups": 2}):
        check_layer(layers.Conv2D(4, 3, data_format=format, **kwargs), shape)


@settings(max_examples=36)
@given(
    image=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.integers(1, 2),
    groups=st.integers(1, 3),
    padding=st.sampled_from(["same", "valid"]),
    seed=st.integers(0, 99),
)
def test_convolutions(image, kernel, strides, dilation, groups, padding, seed):
    if padding == "valid":
        image = tuple(max(n, (k - 1) * dilation + 1) for n, k in zip(image, kernel, strict=True))
    if dilation > 1:
        strides = (1, 1)  # Keras has one or the other
    filters, channels = groups * (1 + seed % 2), groups * (1 + seed // 50)
    layer = layers.Conv2D(
        filters, kernel, strides=strides, dilation_rate=dilation, groups=groups, padding=padding
    )
    operator = operator_for(layer, (*image, channels), seed)
    x = RNG(seed).standard_normal((2, *image, channels)).astype("float32")
    # PyTorch 2.13 on CPUs computes something else for one channel and one column of outputs where
    # only the step along the columns is not 1.
    if channels > 1 or operator.out_shape[1] > 1 or strides[0] == strides[1]:
        executed = keras.ops.convert_to_numpy(layer(x))
        bias = keras.ops.convert_to_numpy(layer.bias)
        np.testing.assert_allclose(operator.forward(x) + bias, executed, rtol=1e-4, atol=1e-4)
    check(operator, seed, tight_rows=padding == "valid")


@pytest.mark.parametrize(
    ("channels", "kernel", "geometry"),
    [
        ((2, 3), (3, 2), ConvGeometry(padding="same")),
        ((2, 2), (4, 4), ConvGeometry((2, 2), "same")),
        ((3, 4), (3, 3), ConvGeometry((2, 1), "valid")),
        ((1, 2), (2, 3), ConvGeometry(padding="same", dilation=(2, 2))),
    ],
)
def test_the_price_of_a_proof_is_that_of_its_band(channels, kernel, geometry):
    weights = RNG(0).uniform(0.5, 1.0, (*kernel, *channels))
    operator = conv_operator(weights, (9, 8, channels[0]), geometry)
    matrix = operator.matrix
    small = matrix @ matrix.T if operator.outputs < operator.inputs else matrix.T @ matrix
    entries = small.tocoo()
    assert band_of(operator.map) == (small.shape[0], (entries.row - entries.col).max() + 1)


@settings(max_examples=18)
@given(
    image=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    pool=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["same", "valid"]),
)
def test_average_pooling(image, pool, strides, padding):
    if padding == "valid":
        image = tuple(max(n, p) for n, p in zip(image, pool, strict=True))
    layer = layers.AveragePooling2D(pool, strides, padding=padding)
    check_layer(layer, (*image, 2), tight=1.0005)


def test_pooling_that_overlaps_and_pooling_that_does_not():
    apart = operator_for(layers.AveragePooling2D(2), (4, 4, 1))
    np.testing.assert_allclose(apart.norm, 0.5, rtol=1e-5)
    # "same" divides by the pixels that there are: the corner passes unchanged.
    corner = operator_for(layers.AveragePooling2D(2, padding="same"), (3, 3, 1))
    np.testing.assert_allclose(corner.norm, 1.0, rtol=1e-5)
    overlap = operator_for(layers.AveragePooling2D(3, 1), (8, 8, 1))
    assert overlap.norm > 2.5 * operator_for(layers.AveragePooling2D(3), (9, 9, 1)).norm


@pytest.mark.parametrize("format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_global_mean(format, keepdims):
    layer = layers.GlobalAveragePooling2D(data_format=format, keepdims=keepdims)
    check_layer(layer, (3, 5, 2))


def test_scales():
    check_layer(layers.Rescaling(-3.0, 2.0), (4, 3))
    np.testing.assert_allclose(operator_for(layers.Rescaling(-3.0), (4,)).norm, 3, rtol=1e-6)
    mean, variance = [0.1, 0.5], [0.04, 4.0]
    check_layer(layers.Normalization(mean=mean, variance=variance), (3, 2))
    inverse = layers.Normalization(mean=mean, variance=variance, invert=True)
    check_layer(inverse, (3, 2))
    # A scale for every entry, not for every channel.
    entries = diagonal_operator(RNG(0).standard_normal((1, 3, 4)), (3, 4))
    assert entries.map.scaled_in(np.ones((1, 1, 4))) is not None
    check(entries)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Flatten(),
        layers.Reshape((4, 6)),
        layers.Permute((3, 1, 2)),
        layers.ZeroPadding2D(((1, 0), (2, 1))),
    ],
    ids=lambda layer: layer.name.rstrip("_0123456789"),
)
def test_moves(layer):
    operator = check_layer(layer, (2, 3, 4))
    assert operator.moves and operator.terms == 0
    assert 1.0 <= operator.norm <= 1 + 1e-9


def test_moves_of_channels_first_images():
    check_layer(layers.Flatten(data_format="channels_first"), (2, 3, 4))
    check_layer(layers.ZeroPadding2D((1, 2), data_format="channels_first"), (2, 3, 4))


def dense(seed, out, inside):
    return dense_operator(RNG(seed).standard_normal((inside, out)), (inside,))


def test_chains():
    rng = RNG(0)
    image = conv_operator(
        rng.standard_normal((3, 3, 2, 3)), (5, 4, 2), ConvGeometry((2, 1), "same")
    )
    flat = reshaping(image.out_shape, (36,))
    last = dense(1, 5, 36)
    check(compose(flat, image), tight_rows=False)
    check(compose(last, compose(flat, image)), tight_rows=False)
    check(compose(dense(2, 3, 7), dense(3, 7, 4)), tight_rows=False)
    assert compose(flat, image).costly and not compose(dense(2, 3, 7), dense(3, 7, 4)).costly
    shuffled = prove(Shuffled((4,), (2, -1, 0, 1, 3, -1)))
    # A norm without weights does not see that some of the inputs are always zero.
    check(compose(dense(2, 3, 6), shuffled), tight=3.0, tight_rows=False)
    check(compose(shuffled, dense(2, 4, 5)))


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("then", ["pool", "pool, same", "pointwise", "dense", "mean", "scale"])
def test_chains_have_the_rows_and_the_norm_of_their_product(then, small, monkeypatch):
    if not small:
        monkeypatch.setattr(proved, "WRITTEN_OUT", 0)
    rng, geometry = RNG(0), ConvGeometry(padding="same", groups=2)
    first = conv_operator(rng.standard_normal((3, 3, 1, 4)), (5, 4, 2), geometry)
    outer = {
        "pool": lambda: prove(AveragePoolMap((5, 4, 4), (2, 2), (2, 2), "valid")),
        "pool, same": lambda: prove(AveragePoolMap((5, 4, 4), (3, 2), (2, 2), "same")),
        "pointwise": lambda: conv_operator(
            rng.standard_normal((1, 1, 4, 3)), (5, 4, 4), ConvGeometry()
        ),
        "dense": lambda: dense_operator(rng.standard_normal((4, 3)), (5, 4, 4)),
        "mean": lambda: prove(MeanMap((5, 4, 4))),
        "scale": lambda: diagonal_operator(rng.standard_normal((1, 5, 4, 4)), (5, 4, 4)),
    }[then]()
    chain = Chain(outer, first)
    matrix = matrix_of(chain)
    assert norm_of(matrix) * (1 - 1e-12) <= chain.norm <= norm_of(matrix) * 1.001
    assert_rows(chain, matrix, rng, tight=True)
    assert_local(chain, matrix, rng)
    assert chain.row_norms().max() < (outer.row_norms() * first.norm).max()


def summed(how):
    """Maps of one input whose outputs are added or stand side by side, as layers of images make them."""
    rng, shape = RNG(1), (5, 4, 2)
    same, here = ConvGeometry(padding="same"), reshaping((5, 4, 2), (5, 4, 2))
    first, second = (
        conv_operator(rng.standard_normal((3, 3, *size)), (5, 4, size[0]), same)
        for size in ((2, 3), (3, 2))
    )
    if how == "residual":
        return Total([here, Chain(second, first)])
    kernel = rng.standard_normal((3, 2, 3, 2))
    transposed = AdjointMap(
        ConvMap(kernel, (9, 8, 3), ConvGeometry((2, 2), "same"), arithmetic=float64)
    )
    if how == "transposed":
        last = conv_operator(rng.standard_normal((2, 2, 3, 2)), (9, 8, 3), ConvGeometry())
        return Chain(last, prove(transposed))
    beside = [
        ZeroPadMap(shape, ((0, 0), (0, 0), widths), arithmetic=float64)
        for widths in ((0, 3), (2, 0))
    ]
    parts = [
        prove(beside[0]),
        Chain(prove(ZeroPadMap((5, 4, 3), ((0, 0), (0, 0), (2, 0)), arithmetic=float64)), first),
    ]
    concatenated = stack(parts)
    pointwise = conv_operator(rng.standard_normal((1, 1, 5, 3)), (5, 4, 5), ConvGeometry())
    return concatenated if how == "concatenation" else Chain(pointwise, concatenated)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("how", ["residual", "concatenation", "then pointwise", "transposed"])
def test_sums_have_the_rows_and_the_norm_of_one_map(how, small, monkeypatch):
    if not small:
        monkeypatch.setattr(proved, "WRITTEN_OUT", 0)
    operator = summed(how)
    matrix, rng = matrix_of(operator), RNG(0)
    assert norm_of(matrix) * (1 - 1e-12) <= operator.norm <= norm_of(matrix) * 1.001
    assert_rows(operator, matrix, rng, tight=True)
    rows = np.broadcast_to(operator.row_norms(), (1, *operator.out_shape)).reshape(-1)
    np.testing.assert_allclose(rows, np.linalg.norm(matrix, axis=1), rtol=1e-5)
    assert_local(operator, matrix, rng)
    sizes = np.linalg.norm(matrix_of(operator.absolute), axis=1).reshape(operator.out_shape)
    assert (operator.signless.row_norms() >= sizes * (1 - 1e-12)).all()
    # Without it rows are those of the parts, and the norm too where it is large.
    monkeypatch.setattr(matrices, "_WRITTEN_OUT", 0)
    apart = summed(how)
    loose = np.broadcast_to(apart.row_norms(), (1, *operator.out_shape)).reshape(-1)
    assert (loose / rows).max() > 1.1
    assert apart.norm >= operator.norm * (1 - 1e-9)


def test_what_cancels_in_a_sum_is_in_its_norms():
    """Slack of coefficients is relative to each part; 2^60 + 1 - 2^60 is computed as 0."""
    for kernels, slack, least in (
        ((np.ones((1, 2)), -np.ones((1, 2))), 0.1, 0.2),
        ((np.full((1, 2), 2.0**60), np.ones((1, 2)), np.full((1, 2), -(2.0**60))), 0.0, 1.0),
    ):
        total = Total([dense_operator(kernel, (1,), slack) for kernel in kernels])
        assert total.product is not None and abs(total.product).sum() == 0.0
        assert min(total.norm, total.row_norms().max()) >= least


def test_without_its_rounding_a_sum_has_no_norm(monkeypatch):
    kernels = np.full((1, 2), 2.0**60), np.ones((1, 2)), np.full((1, 2), -(2.0**60))
    monkeypatch.setattr(proved, "WRITTEN_OUT", 0)
    monkeypatch.setattr(Total, "_rounded", 0.0)
    total = Total([dense_operator(kernel, (1,)) for kernel in kernels])
    assert max(total.norm, total.row_norms().max()) < 1e-9


def test_what_cancels_in_a_product_is_in_its_norms():
    """Slack of coefficients, and their rounding."""
    for inner, outer, slack, least in (
        (np.ones((1, 2)), np.array([[1.0], [-1.0]]), 0.1, 1.1**2 - 0.9**2),
        (np.ones((1, 3)), np.array([[2.0**60], [1.0], [-(2.0**60)]]), 0.0, 1.0),
    ):
        parts = (dense_operator(k, (len(k),), slack) for k in (outer, inner))
        chain = Chain(*parts)
        matrix, error = chain.written
        assert np.linalg.norm(matrix) + error >= least
        assert min(chain.norm, chain.row_norms().max()) >= least
    kernels = np.array([[1.0], [-1.0]]), np.ones((1, 2))
    careless = Chain(*(dense_operator(kernel, (len(kernel),), 0.1) for kernel in kernels))
    careless.loose = 0.0
    assert max(careless.norm, careless.row_norms().max()) < 1e-9


def test_a_row_of_a_product_is_longer_than_the_sums_of_its_maps(monkeypatch):
    """A layer of two maps behind another: 16384 products of one coefficient, by sums of 128 and 128 terms.

    One half of them loses its last digits, one by one, the other half cancels what is left.
    """
    monkeypatch.setattr(proved, "WRITTEN_OUT", 0)
    size, count = 128, 128**2
    digit = round(0.9 * count / 4) * 2.0**-53
    first = np.where(np.arange(count) < count / 2, 1.0 + digit, -1.0)[None]
    digit = first[0, 0] - 1.0
    ones = np.ones((size, 1))
    sums = dense_operator(ones, (size, size)), dense_operator(ones, (size,))
    layer = Chain(sums[1], compose(reshaping((size, 1), (size,)), sums[0]))
    inner = compose(reshaping((count,), (size, size)), dense_operator(first, (1,)))
    chain, exact = Chain(layer, inner), digit * count / 2
    assert abs(chain.product).sum() < 0.6 * exact
    assert min(chain.norm, chain.row_norms().max()) >= exact
    total = Total([chain, chain])
    assert min(total.norm, total.row_norms().max()) >= 2.0 * exact
    # By the terms of the maps alone they would be too small.
    monkeypatch.setattr(Chain, "product_roundings", chain.terms)
    short = Chain(layer, inner)
    assert short.row_norms().max() < exact
    assert Total([short, short]).row_norms().max() < 2.0 * exact


def test_large_chains_are_bounded_by_their_parts(monkeypatch):
    monkeypatch.setattr(proved, "WRITTEN_OUT", 0)
    monkeypatch.setattr(matrices, "_WRITTEN_OUT", 0)
    inner, outer = dense(0, 7, 5), dense(1, 3, 7)
    check(Chain(outer, inner), tight=10.0, tight_rows=False)
    np.testing.assert_allclose(Chain(outer, inner).norm, outer.norm * inner.norm, rtol=1e-6)
    total = Total([dense(0, 5, 5), dense(1, 5, 5)])
    check(total, tight=10.0, tight_rows=False)


def test_nothing_is_left_of_an_identity():
    same = reshaping((2, 3), (2, 3))
    inner = dense_operator(RNG(0).standard_normal((3, 3)), (2, 3))
    assert compose(same, inner) is inner and compose(inner, same) is inner
    reshaped = reshaping((2, 3), (3, 2))
    assert compose(reshaped, inner) is not inner


@pytest.mark.parametrize("groups", [1, 2])
def test_channel_scales_are_folded(groups):
    rng = RNG(0)
    scale = diagonal_operator(rng.uniform(-2, 2, (1, 1, 1, 2)), (4, 4, 2), slack=1e-6)
    kernel = rng.standard_normal((3, 3, 2 // groups, 4))
    image = conv_operator(kernel, (4, 4, 2), ConvGeometry((1, 1), "same", groups=groups))
    folded = compose(image, scale)
    assert isinstance(folded, ProvedConv)
    np.testing.assert_allclose(
        matrix_of(folded), matrix_of(image) @ matrix_of(scale), rtol=1e-12, atol=1e-14
    )
    check(folded, tight_rows=False)
    assert folded.slack >= 1e-6


def test_a_scale_before_a_dense_layer():
    rng = RNG(0)
    scale = diagonal_operator(rng.uniform(-2, 2, (1, 5)), (5,), slack=1e-6)
    folded = compose(dense(0, 3, 5), scale)
    assert isinstance(folded, ProvedDense) and folded.slack >= 1e-6
    check(folded)
    np.testing.assert_allclose(matrix_of(folded), matrix_of(dense(0, 3, 5)) * scale.map.scale)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [(3, 3), (1, 1), (2, 3), (5, 1)])
def test_identity_and_convolution_are_one(dilation, size):
    rng = RNG(0)
    kernel = rng.standard_normal((*size, 2, 2)).astype("float32").astype("float64")
    geometry = ConvGeometry((1, 1), "same", (dilation, dilation))
    image, same = conv_operator(kernel, (5, 4, 2), geometry), reshaping((5, 4, 2), (5, 4, 2))
    for parts, times in (([image, same], 1), ([same, image, same], 2)):
        both = add(parts)
        np.testing.assert_allclose(matrix_of(both), matrix_of(image) + times * np.eye(40), rtol=0)
        check(both, tight_rows=False)
        # The tap on the pixel itself exists but where an even kernel is dilated.
        assert isinstance(both, ProvedConv) == (size != (2, 3) or dilation == 1)


def test_identity_is_not_folded_where_it_does_not_fit():
    rng = RNG(0)
    same = reshaping((4, 4, 2), (4, 4, 2))
    grouped = conv_operator(
        rng.standard_normal((3, 3, 1, 2)), (4, 4, 2), ConvGeometry((1, 1), "same", groups=2)
    )
    tiny = conv_operator(
        rng.standard_normal((3, 3, 2, 2)) * 1e-14, (4, 4, 2), ConvGeometry((1, 1), "same")
    )
    scaled = conv_operator(
        rng.standard_normal((3, 3, 2, 2)), (4, 4, 2), ConvGeometry((1, 1), "same"), slack=1e-6
    )
    for other in (grouped, tiny, scaled):
        both = add([same, other])
        assert isinstance(both, Total)
        check(both, tight=4.0, tight_rows=False)


def test_sums():
    same, minus = reshaping((4,), (4,)), dense_operator(-np.eye(4), (4,))
    assert 2.0 <= add([same, same]).norm <= 2 * (1 + 1e-8)
    assert 3.0 <= add([same] * 3).norm <= 3 * (1 + 1e-8)
    assert add([same, minus]).norm <= 1e-12
    assert add([minus]) is minus
    check(add([same, dense(0, 4, 4)]), tight_rows=False)
    check(add([dense(0, 3, 4), dense(1, 3, 4)]), tight_rows=False)
    # The slack of a part does not cancel.
    loose = dense_operator(-np.eye(4), (4,), slack=0.01)
    assert 0.01 <= add([same, loose]).norm <= 0.03
    assert add([same, loose]).local_norm(np.ones(4), np.ones(4)) >= 2.0


def test_maps_of_a_rule_that_composes_and_adds():
    first, second = (DenseMap(tensor(RNG(s).standard_normal((4, 4))), (4,)) for s in (0, 1))
    both = prove(Composition(second, first))
    check(both, tight_rows=False)
    check(prove(Sum((first, second, Identity((4,))))), tight_rows=False)
    scaled = prove(Composition(first, DiagonalMap(tensor([1.0, -2.0, 3.0, 0.5]), (4,))))
    check(scaled, tight_rows=False)
    # The layer rounds in two steps, but for norms both maps are one matrix.
    assert isinstance(scaled, Chain) and isinstance(simplified(scaled), ProvedDense)
    check(simplified(scaled))
    image = ConvMap(tensor(RNG(0).standard_normal((3, 3, 2, 2))), (4, 4, 2), ConvGeometry())
    check(prove(Composition(ReshapeMap((2, 2, 2), (8,)), image)))


def test_scale_of_the_weights():
    for exponent in (-66, 66):
        factor = 2.0**exponent
        kernel, image = RNG(0).standard_normal((5, 6)), RNG(0).standard_normal((3, 3, 2, 3))
        plain = dense_operator(kernel, (5,)), conv_operator(image, (6, 6, 2), ConvGeometry((2, 2)))
        scaled = (
            dense_operator(kernel * factor, (5,)),
            conv_operator(image * factor, (6, 6, 2), ConvGeometry((2, 2))),
        )
        for one, other in zip(plain, scaled, strict=True):
            assert other.norm == one.norm * factor
            assert other.absolute_norm == one.absolute_norm * factor
            np.testing.assert_array_equal(other.row_norms(), one.row_norms() * factor)
            rows = random_weights(RNG(1), one.out_shape)
            columns = random_weights(RNG(2), one.in_shape)
            assert other.local_norm(rows, columns) == one.local_norm(rows, columns) * factor


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_finite_norm(bad):
    ones = np.ones((3, 4))
    ones[1, 1] = bad
    image = np.ones((3, 3, 1, 1))
    image[0, 1] = bad
    with np.errstate(invalid="ignore"):
        broken = (
            dense_operator(ones, (3,)),
            conv_operator(image, (4, 4, 1), ConvGeometry()),
            diagonal_operator(ones[1:2], (4,)),
        )
        for operator in broken:
            rows, columns = np.ones(operator.out_shape), np.ones(operator.in_shape)
            assert not np.isfinite(operator.norm)
            assert not np.isfinite(operator.local_norm(rows, columns))
            assert not np.isfinite(operator.row_norms()).all()
        sound = dense_operator(np.ones((3, 4)), (3,))
        assert not np.isfinite(sound.local_norm(np.array([1, 1, np.nan, 1]), np.ones(3)))
        assert not np.isfinite(global_norms(sound, np.array([[1, np.nan, 1, 1]]), None)).any()


def test_a_map_that_does_not_compute_in_numpy_is_named():
    class Strange(Identity):
        def forward(self, x):
            return keras.ops.convert_to_tensor(x)

    with pytest.raises(NotImplementedError, match="Strange does not compute in float64 NumPy"):
        prove(Strange((3,)))

    @register_operator(Strange)
    def _strange(linear_map):
        return prove(Identity(linear_map.in_shape))

    assert prove(Strange((3,))).norm >= 1.0
    with pytest.raises(ValueError, match="Strange already has an operator"):
        register_operator(Strange)(_strange)


@pytest.mark.parametrize("name", NETS)
def test_rows_of_the_logits(name):
    net = network(name)
    for index, head in net.heads.items():
        operator = net.logits.terms[index]
        np.testing.assert_allclose(head.rows, matrix_of(operator), rtol=1e-12, atol=1e-15)
        assert any(node.index == index and node.is_ball for node in net.nodes)


def test_what_the_logits_do_not_need_is_left_out():
    start = keras.Input((4,))
    middle = layers.Dense(3, name="used")(start)
    net = Network(LocalLipschitzModel(start, layers.Dense(2)(layers.ReLU()(middle))))
    assert [node.index for node in net.nodes] == sorted({node.index for node in net.nodes})
    assert net.widest == 4 and net.classes == 2
    assert [name for name, _ in net.operators()][-1] == "logits"


def test_local_norms_with_rows_that_weigh_more_than_one():
    """The error of written coefficients counts as often as the rows do."""
    plain = proved.Proved(dense_operator(np.array([[1.0]]), (1,)).map)
    written = np.array([[1.0]]), 0.5  # the true coefficient may be 1.5
    vars(plain)["written"], vars(plain)["norm"] = written, 2.0
    assert plain.local_norm(np.array([4.0]), np.ones(1)) >= 6.0
    assert plain.local_norm(np.array([0.5]), np.ones(1)) >= 0.75


def test_random_norms_of_sums_that_cancel():
    """Coefficients may be off by a share of their magnitudes, which is more than a share of the sum."""
    matrix = RNG(0).standard_normal((6, 6))
    parts = [dense_operator(m, (6,), 0.01) for m in (matrix, -matrix)]
    off = 0.01 * np.linalg.norm(np.abs(matrix), 2)
    found = probabilistic(1e-9, RNG(0))(Total(parts), np.full(6, 2.0), np.ones(6))
    assert 2.0 * off <= found <= 8.0 * off
