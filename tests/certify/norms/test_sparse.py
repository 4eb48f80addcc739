"""Norms of sparse matrices: masked convolutions and matrices without any structure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from keraslip.certify.norms import conv_matrix, sparse_gram, sparse_norm
from keraslip.certify.norms import sparse as module
from tests.certify.norms.convolutions import convolution, true_norm

pytestmark = pytest.mark.any_backend("norms of NumPy arrays")

TIGHT = 1.003


def check(matrix) -> None:
    truth, bound = true_norm(matrix.toarray()), sparse_norm(matrix)
    assert truth * (1 - 1e-12) <= bound <= truth * TIGHT


def masked(rng, kept: tuple[float, float], **options):
    """A convolution's matrix with rows and columns dropped at random."""
    matrix = conv_matrix(convolution(rng, **options))
    rows, columns = (
        np.flatnonzero(rng.random(size) < share)
        for size, share in zip(matrix.shape, kept, strict=True)
    )
    return matrix[rows][:, columns]


@pytest.mark.parametrize("kept", [(1.0, 1.0), (0.5, 0.9), (0.9, 0.2), (0.1, 0.9), (0.3, 0.3)])
@pytest.mark.parametrize(
    "options",
    [
        {"image": (10, 12), "kernel": 3, "channels": (4, 3)},
        {"image": (10, 12), "kernel": 3, "channels": (3, 5), "padding": "valid"},
        {"image": (14, 10), "kernel": 4, "stride": 2, "channels": (3, 5)},
        {"image": (30, 6), "kernel": 3, "groups": 2, "channels": (2, 2)},
        {"image": (12, 9), "kernel": 3, "dilation": 2, "stride": 3, "channels": (3, 8)},
    ],
)
def test_masked_convolutions(options, kept):
    check(masked(np.random.default_rng(0), kept, **options))


def test_masks_that_multiply_instead_of_dropping():
    rng = np.random.default_rng(0)
    matrix = conv_matrix(convolution(rng, (10, 12), 3, channels=(4, 3)))
    rows, columns = (rng.random(size) < 0.5 for size in matrix.shape)
    dropped = matrix[np.flatnonzero(rows)][:, np.flatnonzero(columns)]
    multiplied = sparse.diags(rows * 1.0) @ matrix @ sparse.diags(columns * 1.0)
    stored = matrix.copy()  # the zeros stay stored
    stored.data *= np.repeat(rows, np.diff(stored.indptr)) * columns[stored.indices]
    for same in (multiplied, stored):
        check(same)
        np.testing.assert_allclose(sparse_norm(same), sparse_norm(dropped), rtol=1e-5)


@given(
    st.integers(1, 30), st.integers(1, 30), st.floats(0.02, 1.0), st.integers(0, 99), st.booleans()
)
def test_any_pattern(rows, columns, density, seed, blocks):
    rng = np.random.default_rng(seed)
    matrix = sparse.random(rows, columns, density, random_state=rng, data_rvs=rng.standard_normal)
    pieces, sparse_gram._PIECES = sparse_gram._PIECES, sparse_gram._PIECES if blocks else 0
    try:
        bound = sparse_norm(matrix)
    finally:
        sparse_gram._PIECES = pieces
    truth = true_norm(matrix.toarray())
    assert truth * (1 - 1e-12) <= bound <= truth * TIGHT


@pytest.mark.parametrize("pieces", [0, 10**9])
def test_bands_without_blocks(pieces, monkeypatch):
    monkeypatch.setattr(sparse_gram, "_PIECES", pieces)
    rng = np.random.default_rng(0)
    matrix = sparse.diags(
        [rng.standard_normal(300 - abs(k)) for k in (-4, -1, 0, 3)], (-4, -1, 0, 3)
    )
    check(matrix)
    check(matrix.tocsr()[:, :200])
    check(sparse.diags(rng.standard_normal(300)))


@pytest.mark.parametrize("depth", [0, 1, 2, 7, 40])
def test_gram_matrix_of_bands(depth):
    rng = np.random.default_rng(0)
    matrix = sparse.csr_matrix(np.tril(np.triu(rng.integers(1, 9, (50, 50)) * 1.0), depth))
    store = sparse_gram.lower_gram(sparse_gram.find_blocks(matrix), 2**20)
    gram = (matrix.T @ matrix).toarray()
    if store.band is None:
        np.testing.assert_array_equal(store.symmetric(), gram)
    else:
        for i, diagonal in enumerate(store.band):
            np.testing.assert_array_equal(diagonal[: 50 - i], np.diagonal(gram, -i))
            assert not diagonal[50 - i :].any()


def test_blocks_of_a_convolution_are_its_pixels():
    matrix = conv_matrix(convolution(np.random.default_rng(0), (6, 5), 3, channels=(2, 3)))
    assert len(sparse_gram.find_blocks(matrix)) == 30
    assert len(sparse_gram.find_blocks(matrix.T.tocsr())) == 30


@pytest.mark.parametrize("side", [0, 1])
def test_any_order_of_the_units(side):
    rng = np.random.default_rng(0)
    matrix = masked(rng, (0.9, 0.9), image=(40, 4), kernel=3, channels=(2, 3))
    shuffle = rng.permutation(matrix.shape[side])
    check(matrix[shuffle] if side == 0 else matrix[:, shuffle])


@pytest.mark.parametrize("exponent", [-660, -66, 66, 660])
def test_powers_of_two_scale_exactly(exponent):
    matrix = masked(np.random.default_rng(0), (0.7, 0.7), image=(20, 9), kernel=3)
    assert sparse_norm(matrix * 2.0**exponent) == sparse_norm(matrix) * 2.0**exponent


def test_zero_empty_and_not_finite():
    assert sparse_norm(sparse.csr_matrix((5, 6))) == 0.0
    assert sparse_norm(sparse.csr_matrix((0, 6))) == 0.0
    stored = sparse.csr_matrix(np.ones((3, 4)))
    stored.data[:] = 0.0
    assert sparse_norm(stored) == 0.0
    for value in (np.nan, np.inf, -np.inf):
        stored.data[5] = value
        assert sparse_norm(stored) == np.inf


@pytest.mark.parametrize("make", [sparse.coo_matrix, sparse.csc_matrix, sparse.csr_array])
def test_other_formats(make):
    check(make(np.random.default_rng(0).standard_normal((20, 30)).astype("float32")))


def test_the_matrix_given_is_not_changed():
    # Unsorted, with a duplicate: the entries at (0, 0) are summed.
    parts = (np.array([1.0, 2.0, 3.0]), np.array([1, 0, 0]), np.array([0, 3]))
    matrix = sparse.csr_matrix(parts, shape=(1, 2))
    np.testing.assert_allclose(sparse_norm(matrix), np.sqrt(26), rtol=1e-6)
    np.testing.assert_array_equal(matrix.indices, [1, 0, 0])
    np.testing.assert_array_equal(matrix.data, [1.0, 2.0, 3.0])


def test_without_memory_or_proof_the_simple_bounds_remain(monkeypatch):
    matrix = masked(np.random.default_rng(0), (0.9, 0.9), image=(40, 4), kernel=3, channels=(2, 3))
    truth = true_norm(matrix.toarray())
    with monkeypatch.context() as patched:
        patched.setattr(module, "prove_band_below", lambda band, t: False)
        unproved = sparse_norm(matrix)
    monkeypatch.setattr(module, "_LIMIT", 100)
    assert truth * 1.1 < unproved == sparse_norm(matrix)


def test_an_estimate_far_below_is_found_out(monkeypatch):
    matrix = masked(np.random.default_rng(0), (0.9, 0.9), image=(40, 4), kernel=3, channels=(2, 3))
    truth = true_norm(matrix.toarray())
    for estimate in (0.0, 0.5 * truth**2, truth**2 * (1 - 1e-2)):
        monkeypatch.setattr(module, "top_eigenvalue", lambda apply, size, steps, e=estimate: e)
        assert sparse_norm(matrix) >= truth


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"image": (14, 14), "kernel": 3, "channels": (32, 64)},
        {"image": (16, 16), "kernel": 4, "stride": 2, "channels": (64, 64)},
    ],
)
def test_large(options):
    rng = np.random.default_rng(0)
    matrix = masked(rng, (0.6, 0.8), **options)
    vector = rng.standard_normal(matrix.shape[1])
    for _ in range(200):
        vector = matrix.T @ (matrix @ (vector / np.linalg.norm(vector)))
    norm = np.sqrt(np.linalg.norm(vector))
    assert norm <= sparse_norm(matrix) <= norm * 1.004
