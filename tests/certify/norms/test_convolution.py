"""Norms of convolutions: never below the dense operator's, close above it where the image is not tiny."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keraslip.certify.norms import conv_matrix, conv_norm, is_pointwise, sparse_norm
from keraslip.certify.norms import convolution as module
from keraslip.certify.norms import symbol as symbol_module
from tests.certify.norms.convolutions import Convolution, convolution, true_norm

pytestmark = pytest.mark.any_backend("norms of NumPy arrays")

pair = st.tuples(st.integers(1, 7), st.integers(1, 7))
small = st.tuples(st.integers(1, 3), st.integers(1, 3))
padding = st.tuples(st.integers(0, 7), st.integers(0, 7))


@pytest.fixture
def torus_only(monkeypatch):
    """Without the direct bound for small matrices, which would hide the torus'."""
    monkeypatch.setattr(module, "_SMALL", 0)


@pytest.mark.parametrize("size", [7, 15, 17])
@pytest.mark.parametrize("padding", ["same", "valid", "asymmetric"])
def test_every_geometry(size, padding, torus_only):
    rng = np.random.default_rng(size)
    geometries = itertools.product((1, 2, 3, 4, 5), (1, 2, 3), (1, 2), (1, 2, 3))
    for kernel, stride, dilation, groups in geometries:
        conv = convolution(rng, (size, 7), kernel, stride, padding, dilation, groups)
        if conv is not None:
            truth = true_norm(conv_matrix(conv).toarray())
            assert conv_norm(conv) >= truth * (1 - 1e-12), conv


@given(pair, pair, small, padding, small, st.integers(1, 2), small, pair, st.integers(0, 99))
def test_any_geometry(image, kernel, strides, left, dilation, groups, channels, out, seed):
    # Kernels beyond the image, paddings beyond the kernel, inputs and outputs that meet nothing.
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((*kernel, channels[0], channels[1] * groups))
    conv = Convolution(weights, image, strides, left, dilation, groups, out)
    truth = true_norm(conv_matrix(conv).toarray())
    whole, module._SMALL = module._SMALL, 0
    try:
        torus = conv_norm(conv)
    finally:
        module._SMALL = whole
    assert torus >= truth * (1 - 1e-12)
    assert truth * (1 - 1e-12) <= conv_norm(conv) <= truth * 1.003


@pytest.mark.parametrize("size", [14, 15, 17])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(3, 1, "same"), (4, 2, "same"), (3, 1, "valid"), (3, 2, "asymmetric"), (4, 2, "asymmetric")],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_close_above_the_norm(size, kernel, stride, padding, groups, torus_only):
    rng = np.random.default_rng(size)
    conv = convolution(rng, (size, size), kernel, stride, padding, 1, groups, (4 // groups, 6))
    norm = sparse_norm(conv_matrix(conv))
    assert norm * (1 - 0.003) <= conv_norm(conv) <= norm * 1.03


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("padding", ["valid", "asymmetric"])
def test_one_tap_is_one_matrix(stride, groups, padding, torus_only):
    channels = (8, 4)
    conv = convolution(
        np.random.default_rng(0), (5, 4), 1, stride, padding, 1, groups, channels=channels
    )
    assert is_pointwise(conv) == (groups == 1 and padding == "valid")
    truth = true_norm(conv_matrix(conv).toarray())
    tight = 1.0001 if is_pointwise(conv) else 1.003
    assert truth * (1 - 1e-12) <= conv_norm(conv) <= truth * tight


def test_non_negative_kernels_peak_at_frequency_zero(torus_only):
    conv = convolution(np.random.default_rng(0), (16, 16), 3, channels=(3, 4))
    conv = conv._replace(kernel=np.abs(conv.kernel))
    exact = np.linalg.norm(conv.kernel.sum(axis=(0, 1)), 2)
    assert exact <= conv_norm(conv) <= exact * (1 + 1e-8)


def test_orthogonal_kernels(torus_only):
    rng = np.random.default_rng(0)
    conv = convolution(rng, (9, 9), 3, channels=(8, 8))
    kernel = np.zeros_like(conv.kernel)
    kernel[1, 1] = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    assert 1.0 <= conv_norm(conv._replace(kernel=kernel)) <= 1.0 + 1e-8


def test_groups_are_bounded_by_the_largest():
    rng = np.random.default_rng(0)
    conv = convolution(rng, (30, 40), 3, groups=3, channels=(2, 3))
    conv.kernel[..., 3:6] *= 10.0
    alone = conv._replace(kernel=conv.kernel[..., 3:6], groups=1)
    np.testing.assert_allclose(conv_norm(conv), conv_norm(alone), rtol=1e-8)


def test_swapped_axes_give_the_same_bound(torus_only):
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((3, 4, 5, 6))
    conv = Convolution(kernel, (20, 15), (2, 1), (1, 3), (1, 2), 1, (10, 14))
    flipped = [tuple(reversed(each)) if isinstance(each, tuple) else each for each in conv]
    flipped[0] = kernel.transpose(1, 0, 2, 3)
    np.testing.assert_allclose(conv_norm(conv), conv_norm(Convolution(*flipped)), rtol=1e-7)


@pytest.mark.parametrize("exponent", [-660, -66, 66, 660])
@pytest.mark.parametrize("size", [6, 20])
def test_powers_of_two_scale_exactly(size, exponent):
    conv = convolution(np.random.default_rng(0), (size, size), 3, 2, channels=(5, 6))
    scaled = conv._replace(kernel=conv.kernel * 2.0**exponent)
    assert conv_norm(scaled) == conv_norm(conv) * 2.0**exponent


def test_tiny_weights():
    conv = convolution(np.random.default_rng(0), (20, 20), 3, channels=(5, 6))
    scaled = conv._replace(kernel=conv.kernel * 1e-20)
    np.testing.assert_allclose(conv_norm(scaled), conv_norm(conv) * 1e-20, rtol=1e-6)


def test_weights_of_taps_that_count_set_the_scale(torus_only):
    # The left column of taps meets padding only.
    kernel = np.full((1, 2, 1, 1), 2.0**-700)
    kernel[0, 0] = 2.0**300
    conv = Convolution(kernel, (3, 1), (1, 1), (0, 1), (1, 1), 1, (3, 1))
    assert 2.0**-700 <= conv_norm(conv) <= 2.0**-700 * (1 + 1e-6)


def test_zero_empty_and_unread():
    conv = convolution(np.random.default_rng(0), (5, 5), 3)
    assert conv_norm(conv._replace(kernel=np.zeros_like(conv.kernel))) == 0.0
    assert conv_norm(conv._replace(kernel=conv.kernel[..., :0])) == 0.0
    assert conv_norm(conv._replace(left=(50, 50))) == 0.0
    assert conv_norm(conv._replace(out_image=(0, 5))) == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_gives_infinity(value):
    conv = convolution(np.random.default_rng(0), (5, 5), 3)
    conv.kernel[0, 1, 0, 1] = value
    assert conv_norm(conv) == np.inf


def test_more_frequencies_than_fit_at_once(monkeypatch):
    conv = convolution(np.random.default_rng(0), (20, 20), 3, channels=(5, 6))
    whole = conv_norm(conv)
    for chunk in (1, 1000, 20_000):
        monkeypatch.setattr(module, "_CHUNK", chunk)
        np.testing.assert_allclose(conv_norm(conv), whole, rtol=1e-5)


def test_estimates_far_below_are_found_out(monkeypatch, torus_only):
    conv = convolution(np.random.default_rng(0), (9, 8), 3, channels=(4, 5))
    truth = true_norm(conv_matrix(conv).toarray())
    monkeypatch.setattr(module, "_estimates", lambda grams: np.full(len(grams), 1e-9))
    assert truth <= conv_norm(conv) <= truth * 1.2


def test_error_of_the_symbol_covers_its_rounding():
    conv = convolution(np.random.default_rng(0), (9, 8), 5, 2, channels=(4, 5))
    symbol = symbol_module.conv_symbol(conv)
    frequencies = symbol.frequencies()
    exact = np.zeros((len(frequencies), 5, len(symbol.phases), 4), np.clongdouble)
    # Extended precision has eleven bits more; where it is float64 again, the test says less.
    turn = 2 * np.arccos(np.longdouble(-1))
    offsets = [(i, j) for i in range(5) for j in range(5)]
    for phase, taps in enumerate(symbol.phases):
        for tap in taps:
            i, j = offsets[tap]
            shares = [
                np.longdouble(frequencies[:, axis] * symbol.axes[axis].shift[each])
                / symbol.axes[axis].period
                for axis, each in enumerate((i, j))
            ]
            angle = turn * (shares[0] + shares[1])
            factor = np.cos(angle) + 1j * np.sin(angle)
            exact[:, :, phase] += factor[:, None, None] * symbol.weights[tap, 0]
    computed = symbol.at(frequencies)
    errors = np.linalg.norm((computed - exact.reshape(computed.shape)).astype(complex), 2, (1, 2))
    assert 0.0 < errors.max() < symbol.error() < 1e-11 * symbol.magnitude()


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "size"), [(64, 32), (256, 16)])
def test_large(channels, size):
    rng = np.random.default_rng(0)
    conv = convolution(rng, (size, size), 3, channels=(channels, channels))
    bound, vector = conv_norm(conv), rng.standard_normal(size * size * channels)
    if channels == 64:
        matrix = conv_matrix(conv)
        for _ in range(60):
            vector = matrix.T @ (matrix @ (vector / np.linalg.norm(vector)))
        norm = np.sqrt(np.linalg.norm(vector))
        assert norm <= bound <= norm * 1.02
    assert bound > np.linalg.norm(conv.kernel) / np.sqrt(channels)
