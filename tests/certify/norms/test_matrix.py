"""The sparse matrix of a convolution, against explicit loops and against Keras."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keraslip.certify.norms import conv_matrix
from tests.certify.norms.convolutions import Convolution, convolution, matrix_by_loops

pytestmark = pytest.mark.any_backend("norms of NumPy arrays")

pair = st.tuples(st.integers(1, 6), st.integers(1, 6))
small = st.tuples(st.integers(1, 3), st.integers(1, 3))
padding = st.tuples(st.integers(0, 6), st.integers(0, 6))


@given(pair, small, small, padding, small, st.integers(1, 3), small, pair)
def test_entries_are_the_weights_where_loops_put_them(
    image, kernel, strides, left, dilation, groups, channels, out
):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((*kernel, channels[0], channels[1] * groups))
    conv = Convolution(weights, image, strides, left, dilation, groups, out)
    np.testing.assert_array_equal(conv_matrix(conv).toarray(), matrix_by_loops(conv))


@pytest.mark.parametrize("stride", [1, 2])
def test_agrees_with_the_convolution_of_keras(stride):
    rng = np.random.default_rng(0)
    conv = convolution(rng, (7, 5), 3, stride, "valid", channels=(2, 3))
    x = rng.standard_normal((1, 7, 5, 2)).astype("float32")
    y = keras.ops.conv(x, conv.kernel.astype("float32"), stride, "valid", "channels_last")
    product = conv_matrix(conv) @ x.ravel()
    np.testing.assert_allclose(product, keras.ops.convert_to_numpy(y).ravel(), atol=1e-5)


def test_stored_zeros_and_sorted_indices():
    conv = convolution(np.random.default_rng(0), (4, 4), 3)
    conv.kernel[1, 1] = 0.0
    matrix = conv_matrix(conv)
    assert matrix.nnz == conv_matrix(conv._replace(kernel=np.ones_like(conv.kernel))).nnz
    indices = matrix.indices.copy()
    matrix.has_sorted_indices = False
    matrix.sort_indices()
    np.testing.assert_array_equal(indices, matrix.indices)
