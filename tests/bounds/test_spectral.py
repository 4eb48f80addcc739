"""Masked norms by power iteration against the singular values of the masked dense matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keraslip.bounds import spectral
from keraslip.linear import (
    AveragePoolMap,
    ConvGeometry,
    ConvMap,
    DenseMap,
    DiagonalMap,
    Identity,
    ReshapeMap,
    Sum,
    compose,
)
from tests.examples import examples
from tests.harness import at_once, gradient, matrix_of, numpy, tensor


def rng(seed=0):
    return np.random.default_rng(seed)


def masked_norm(
    linear_map, vector, in_mask=None, out_mask=None, power_iterations=1, differentiate=False
):
    """`spectral.masked_norm`; its coefficients are arguments of what is compiled."""
    coefficients = []
    linear_map.each(lambda value: (coefficients.append(value), value)[1])

    def norms(coefficients, *vectors):
        rest = iter(coefficients)
        same = linear_map.each(lambda _: next(rest))
        return spectral.masked_norm(same, *vectors, power_iterations, differentiate)

    return at_once(norms)(coefficients, vector, in_mask, out_mask)


def start_for(linear_map, seed=7):
    v = rng(seed).normal(size=(1, *linear_map.out_shape))
    return tensor(v / np.linalg.norm(v))


def masks_for(linear_map, batch=4, share=0.5, seed=5):
    r = rng(seed)
    pair = [
        (r.uniform(size=(batch, *shape)) < share).astype("float32")
        for shape in (linear_map.in_shape, linear_map.out_shape)
    ]
    pair[0][0], pair[1][0] = 1, 1
    return pair


def true_norms(linear_map, columns, rows):
    matrix, batch = matrix_of(linear_map), len(columns if rows is None else rows)
    result = []
    for b in range(batch):
        masked = matrix
        masked = masked if columns is None else masked * columns[b].ravel()
        masked = masked if rows is None else masked * rows[b].reshape(-1, 1)
        result.append(np.linalg.svd(masked, compute_uv=False)[0])
    return np.array(result)


def dense(n=9, m=6, seed=0):
    return DenseMap(tensor(rng(seed).normal(size=(n, m))), (n,))


def conv(seed=0, **geometry):
    kernel = tensor(rng(seed).normal(size=(3, 3, 2, 2)))
    return ConvMap(kernel, (5, 4, 2), ConvGeometry(**geometry))


MAPS = {
    "dense": dense,
    "dense, rank 2": lambda: DenseMap(tensor(rng(0).normal(size=(5, 3))), (4, 5)),
    "conv": lambda: conv(padding="same"),
    "conv, strides": lambda: conv(strides=(2, 2)),
    "pool": lambda: AveragePoolMap((5, 4, 2), (2, 2), (1, 1), "same"),
    "residual": lambda: Sum((Identity((5, 4, 2)), conv(padding="same"))),
    "dense after conv": lambda: compose(
        DenseMap(tensor(rng(2).normal(size=(12, 5))), (12,)),
        compose(ReshapeMap((3, 2, 2), (12,)), conv()),
    ),
}


@pytest.mark.parametrize("name", MAPS)
def test_converges_to_the_largest_singular_value(name):
    linear_map = MAPS[name]()
    columns, rows = masks_for(linear_map)
    for a, b in ((columns, rows), (columns, None), (None, rows)):
        found, reached = masked_norm(
            linear_map, start_for(linear_map), *(None if m is None else tensor(m) for m in (a, b)),
            power_iterations=60,
        )  # fmt: skip
        true = true_norms(linear_map, a, b)
        assert found.shape == (4,)
        np.testing.assert_allclose(numpy(found), true, rtol=1e-3)
        assert (numpy(found) <= true * (1 + 1e-5)).all()
        assert tuple(reached.shape) == (1, *linear_map.out_shape)
        np.testing.assert_allclose(np.linalg.norm(numpy(reached)), 1.0, rtol=1e-5)
    found, _ = masked_norm(linear_map, start_for(linear_map), power_iterations=60)
    assert found.shape == (1,)
    np.testing.assert_allclose(
        numpy(found)[0], np.linalg.svd(matrix_of(linear_map), compute_uv=False)[0], rtol=1e-3
    )


@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("differentiate", [False, True])
def test_never_above_the_norm(iterations, differentiate):
    linear_map = conv(padding="same")
    columns, rows = masks_for(linear_map)
    found, _ = masked_norm(
        linear_map, start_for(linear_map), tensor(columns), tensor(rows), iterations, differentiate
    )
    true = true_norms(linear_map, columns, rows)
    assert (numpy(found) <= true * (1 + 1e-5)).all()
    assert (numpy(found) >= 0.3 * true).all()


def test_more_iterations_never_lower_the_norm():
    linear_map = dense(20, 20)
    columns, rows = (tensor(m) for m in masks_for(linear_map))
    found = [
        numpy(masked_norm(linear_map, start_for(linear_map), columns, rows, count)[0])
        for count in (1, 2, 3, 5, 10, 20, 40)
    ]
    for low, high in zip(found, found[1:], strict=False):
        assert (low <= high * (1 + 1e-5)).all()


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_masks_of_slopes(share):
    """Weights between 0 and 1, as slopes of leaky units are: a Krylov space of all dimensions is exact."""
    linear_map = dense(5, 6)
    columns, rows = (np.maximum(m, np.float32(share)) for m in masks_for(linear_map))
    rows = rows * rng(1).uniform(0.0, 1.0, rows.shape).astype("float32")
    true, before = true_norms(linear_map, columns, rows), 0.0
    for count in (1, 2, 3, 4, 5, 6):
        found = numpy(
            masked_norm(linear_map, start_for(linear_map), tensor(columns), tensor(rows), count)[0]
        )
        assert (before <= found * (1 + 1e-5)).all() and (found <= true * (1 + 1e-5)).all()
        before = found
    np.testing.assert_allclose(found, true, rtol=1e-3)


def test_warm_start_makes_one_iteration_enough():
    linear_map = dense(20, 20)
    columns, rows = masks_for(linear_map, share=0.95)
    start = start_for(linear_map)
    for _ in range(30):
        found, start = masked_norm(linear_map, start, tensor(columns), tensor(rows), 1)
    np.testing.assert_allclose(numpy(found), true_norms(linear_map, columns, rows), rtol=0.05)


@pytest.mark.parametrize("power", [-60, -20, 20, 60])
@pytest.mark.parametrize("build", [lambda k: DenseMap(k[0, 0], (5, 4, 2)),
                                   lambda k: ConvMap(k, (5, 4, 2), ConvGeometry())])  # fmt: skip
def test_scale_invariance(build, power):
    kernel = rng(1).normal(size=(3, 3, 2, 3))
    one, other = build(tensor(kernel)), build(tensor(kernel * 2.0**power))
    columns, rows = (tensor(m) for m in masks_for(one))
    for iterations in (1, 30):
        plain, _ = masked_norm(one, start_for(one), columns, rows, iterations)
        scaled, _ = masked_norm(other, start_for(one), columns, rows, iterations)
        np.testing.assert_allclose(numpy(scaled) / 2.0**power, numpy(plain), rtol=1e-6)


@pytest.mark.parametrize("largest", [100.0, 1e4])
@pytest.mark.parametrize("start", [[1.0, 1e-4], [1.0, 1.0], [1e-4, 1.0]])
def test_ill_conditioned_with_an_unfortunate_start(largest, start):
    linear_map = DenseMap(tensor(np.diag([1.0, largest])), (2,))
    columns = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], "float32")
    start = np.array([start]) / np.linalg.norm(start)
    for a, b in ((columns, None), (None, columns), (columns, columns)):
        found, _ = masked_norm(
            linear_map, tensor(start), *(None if m is None else tensor(m) for m in (a, b)),
            power_iterations=20,
        )  # fmt: skip
        np.testing.assert_allclose(numpy(found), [largest, 1.0, largest, 0.0], rtol=1e-3)


@settings(max_examples=examples(12))
@given(
    seed=st.integers(0, 10**6),
    spread=st.integers(0, 8),
    share=st.floats(0.05, 1.0),
    unit=st.integers(-40, 40),
)
def test_random_spectra(seed, spread, share, unit):
    r = rng(seed)
    left, _ = np.linalg.qr(r.normal(size=(6, 6)))
    kernel = left * 10.0 ** -r.uniform(0, spread, size=6) * 2.0**unit
    linear_map = DenseMap(tensor(kernel), (6,))
    columns, rows = masks_for(linear_map, share=share, seed=seed)
    found, _ = masked_norm(
        linear_map, start_for(linear_map, seed), tensor(columns), tensor(rows), 100
    )
    true = true_norms(linear_map, columns, rows)
    noise = 1e-6 * np.linalg.norm(kernel)
    assert (numpy(found) <= true * (1 + 1e-5) + noise).all()
    assert (numpy(found) >= true * 0.98 - noise).all()


def test_zero_masks_give_zero_and_finite_gradients():
    kernel = rng(1).normal(size=(4, 3))
    columns = tensor([[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]])
    rows = tensor([[1, 1, 1], [0, 0, 0], [0, 1, 1]])
    start = start_for(DenseMap(tensor(kernel), (4,)))

    def norms(k, differentiate=False):
        return masked_norm(DenseMap(k, (4,)), start, columns, rows, 8, differentiate)[0]

    found = numpy(norms(tensor(kernel)))
    np.testing.assert_array_equal(found[:2], 0)
    assert found[2] > 0.1
    for differentiate in (False, True):
        slope = gradient(lambda k, d=differentiate: ops.sum(norms(k, d)), kernel)
        assert np.isfinite(slope).all() and np.abs(slope).max() > 0
        assert (slope[[0, 2]] == 0).all() and (slope[:, 0] == 0).all()
    assert np.isfinite(gradient(lambda k: ops.sum(norms(k)), np.zeros((4, 3)))).all()


def test_gradient_is_the_pair_of_singular_vectors():
    kernel = rng(1).normal(size=(5, 4))
    start = start_for(DenseMap(tensor(kernel), (5,)))
    left, _, right = np.linalg.svd(kernel)
    for differentiate in (False, True):
        found = gradient(
            lambda k, d=differentiate: ops.sum(
                masked_norm(DenseMap(k, (5,)), start, None, None, 100, d)[0]
            ),
            kernel,
        )
        np.testing.assert_allclose(found, np.outer(left[:, 0], right[0]), atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_kernels_that_are_not_finite_give_nan(bad):
    kernel = rng(1).normal(size=(3, 3, 2, 2))
    kernel[1, 1, 0, 0] = bad
    for linear_map in (
        ConvMap(tensor(kernel), (5, 4, 2), ConvGeometry()),
        DenseMap(tensor(kernel[1, 1]), (5, 4, 2)),
        DiagonalMap(tensor(kernel[1, 1, 0]), (5, 4, 2)),
    ):
        columns, rows = (tensor(m) for m in masks_for(linear_map))
        for count in (1, 6):
            found, reached = masked_norm(linear_map, start_for(linear_map), columns, rows, count)
            assert np.isnan(numpy(found)).all()
            assert np.isfinite(numpy(reached)).all()


def test_zero_kernel():
    linear_map = DenseMap(tensor(np.zeros((3, 2))), (3,))
    start = start_for(linear_map)
    found, reached = masked_norm(linear_map, start, None, None, 3)
    np.testing.assert_array_equal(numpy(found), 0)
    np.testing.assert_allclose(numpy(reached), numpy(start))
