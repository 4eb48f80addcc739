"""Lanczos steps for many masked maps at once, against singular values by NumPy."""

import numpy as np
import pytest
from keras import ops

from keraslip.bounds.krylov import largest_eigenvector
from keraslip.linear import DenseMap
from tests.bounds.test_spectral import MAPS, masked_norm, masks_for, start_for, true_norms
from tests.harness import gradient, numpy, tensor


def rng(seed=0):
    return np.random.default_rng(seed)


def spread(n=40, m=30, seed=0):
    """A dense map whose singular values fall slowly, as those of trained layers do."""
    left, _ = np.linalg.qr(rng(seed).normal(size=(n, m)))
    right, _ = np.linalg.qr(rng(seed + 1).normal(size=(m, m)))
    return DenseMap(tensor(left * np.linspace(1.0, 0.2, m) @ right), (n,))


def power(linear_map, start, columns, rows, count):
    """The published iteration, with the same number of products."""
    return numpy(masked_norm(linear_map, start, columns, rows, count, differentiate=True)[0])


@pytest.mark.parametrize("name", MAPS)
def test_few_products_reach_the_norm(name):
    linear_map = MAPS[name]()
    columns, rows = masks_for(linear_map)
    true = true_norms(linear_map, columns, rows)
    start = start_for(linear_map)
    for count, share in ((3, 0.8), (6, 0.98), (12, 0.999)):
        found = numpy(masked_norm(linear_map, start, tensor(columns), tensor(rows), count)[0])
        assert (found <= true * (1 + 1e-5)).all() and (found >= share * true).all()


def test_a_krylov_space_beats_its_last_vector():
    linear_map = spread()
    columns, rows = masks_for(linear_map, batch=32, share=0.6)
    start = tensor(np.repeat(numpy(start_for(linear_map)), 32, axis=0))
    true = true_norms(linear_map, columns, rows)
    masks = tensor(columns), tensor(rows)
    found = numpy(masked_norm(linear_map, start, *masks, 5)[0])
    plain = power(linear_map, start, *masks, 5)
    assert np.median(found / true) > 0.98 and (found >= plain * (1 - 1e-3)).all()
    assert np.median(plain / true) < 0.97


@pytest.mark.parametrize("power_of_two", [-66, 0, 66])
@pytest.mark.parametrize("count", [1, 2, 5, 13])
def test_spaces_that_end_early(power_of_two, count):
    """Rank one, a single unit, no unit at all: the space is smaller than the number of steps."""
    kernel = np.outer(rng(0).normal(size=7), rng(1).normal(size=5)) * 2.0**power_of_two
    linear_map = DenseMap(tensor(kernel), (7,))
    columns, rows = np.ones((4, 7)), np.ones((4, 5))
    columns[1, 1:], rows[2, :4], columns[3] = 0, 0, 0
    masks = tensor(columns), tensor(rows)
    found = numpy(masked_norm(linear_map, start_for(linear_map), *masks, count)[0])
    true = true_norms(linear_map, columns, rows)
    assert true[3] == 0.0
    np.testing.assert_allclose(found, true, rtol=2e-5)
    slope = gradient(
        lambda k: ops.sum(masked_norm(DenseMap(k, (7,)), start_for(linear_map), *masks, count)[0]),
        kernel,
    )
    assert np.isfinite(slope).all()


def test_identity_and_equal_singular_values():
    found, _ = masked_norm(
        DenseMap(tensor(np.eye(6)), (6,)), tensor(np.ones((1, 6))), None, None, 8
    )
    np.testing.assert_allclose(numpy(found), 1.0, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 5, 9])
def test_bad_starts_are_seen(count):
    linear_map = spread(8, 6)
    columns, rows = masks_for(linear_map)
    start = numpy(start_for(linear_map))
    start[0, 2] = np.nan
    for masks in ((None, None), (tensor(columns), tensor(rows))):
        found, reached = masked_norm(linear_map, tensor(start), *masks, count)
        assert np.isnan(numpy(found)).all()
        assert np.isnan(numpy(reached)).any()


def test_one_sample_is_as_in_a_batch():
    linear_map = spread()
    columns, rows = masks_for(linear_map, share=0.6)
    starts = np.repeat(numpy(start_for(linear_map)), 4, axis=0)
    whole = numpy(masked_norm(linear_map, tensor(starts), tensor(columns), tensor(rows), 12)[0])
    for i in range(4):
        part = [tensor(a[i : i + 1]) for a in (columns, rows)]
        one = numpy(masked_norm(linear_map, tensor(starts[i : i + 1]), *part, 12)[0])
        if i:  # the masks of the first sample are all ones
            assert one < whole[0]
        np.testing.assert_allclose(one, whole[i], rtol=2e-2)


def test_the_gradient_is_that_of_the_value_with_its_vectors_fixed():
    linear_map = spread(9, 6)
    columns, rows = masks_for(linear_map)
    start, masks = start_for(linear_map), (tensor(columns), tensor(rows))

    def norms(kernel):
        return masked_norm(DenseMap(kernel, (9,)), start, *masks, 12)[0]

    slope = gradient(lambda k: ops.sum(norms(k)), numpy(linear_map.kernel))
    expected = 0.0
    for column, row in zip(columns, rows, strict=True):
        masked = numpy(linear_map.kernel) * column[:, None] * row
        left, _, right = np.linalg.svd(masked)
        expected = expected + np.outer(left[:, 0], right[0])
    np.testing.assert_allclose(slope, expected, atol=2e-3)


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_eigenvectors_of_small_matrices(size):
    vectors = rng(size).normal(size=(20, size, size + 2))
    matrices = vectors @ vectors.transpose(0, 2, 1) * 10.0 ** rng(0).uniform(-12, 12, (20, 1, 1))
    matrices[3] = 0.0
    matrices[4] = np.eye(size)
    found = numpy(largest_eigenvector(tensor(matrices))).astype("float64")
    assert (found[3] == 0).all()
    lengths = np.square(found).sum(axis=1)
    quotients = np.einsum("bi,bij,bj->b", found, matrices, found) / np.where(
        lengths > 0, lengths, 1
    )
    np.testing.assert_allclose(quotients, np.linalg.eigvalsh(matrices)[:, -1], rtol=1e-4)


def test_nan_matrices_give_nan():
    matrices = np.tile(np.eye(3), (2, 1, 1))
    matrices[1, 0, 2] = matrices[1, 2, 0] = np.nan
    found = numpy(largest_eigenvector(tensor(matrices)))
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).any()
