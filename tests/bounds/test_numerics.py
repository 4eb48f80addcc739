"""Norms at the edges of the float range, at zero and at NaN."""

import numpy as np
import pytest
from keras import ops

from keraslip.arithmetic import training
from keraslip.bounds.numerics import euclidean, l2_norm, normalize, per_sample, safe_sqrt
from keraslip.linear.magnitudes import max_abs, mixed_norm
from tests.harness import gradient, numpy, tensor


@pytest.mark.parametrize("scale", [1e-30, 2.0**-60, 1.0, 2.0**60, 1e30])
def test_norm_is_exact_to_scale(scale):
    x = np.random.default_rng(0).normal(size=(5, 3, 4))
    found = numpy(l2_norm(tensor(x * scale)))
    expected = np.linalg.norm(x.reshape(5, -1), axis=1) * scale
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    directions = numpy(normalize(tensor(x * scale)))
    np.testing.assert_allclose(np.linalg.norm(directions.reshape(5, -1), axis=1), 1, rtol=1e-6)


def test_norms_of_zero_and_what_is_not_finite():
    x = np.array([[0.0, 0.0], [3.0, 4.0], [np.nan, 1.0], [np.inf, 1.0], [-np.inf, np.inf]])
    found = numpy(l2_norm(tensor(x)))
    np.testing.assert_allclose(found[:2], [0.0, 5.0])
    assert not np.isfinite(found[2:]).any()
    np.testing.assert_array_equal(numpy(normalize(tensor(x[:1]))), 0)
    np.testing.assert_allclose(numpy(euclidean(tensor(x[:2]))), [0.0, 5.0])
    assert np.isnan(numpy(euclidean(tensor(x[2:3]))))


@pytest.mark.parametrize("function", [l2_norm, euclidean, normalize, safe_sqrt])
def test_gradient_at_zero_is_finite(function):
    found = gradient(lambda x: ops.sum(function(x)), np.zeros((2, 3)))
    assert np.isfinite(found).all()
    mixed = np.array([[0.0, 0.0], [0.0, 2.0]])
    assert np.isfinite(gradient(lambda x: ops.sum(function(x)), mixed)).all()


@pytest.mark.parametrize("function", [l2_norm, euclidean])
def test_gradient_is_the_direction(function):
    x = np.array([[3.0, 4.0], [-1.0, 0.0]])
    found = gradient(lambda v: ops.sum(function(v)), x)
    np.testing.assert_allclose(found, [[0.6, 0.8], [-1.0, 0.0]], atol=1e-6)


def test_square_root():
    x = np.array([0.0, 4.0, np.inf, np.nan, -0.0])
    np.testing.assert_array_equal(numpy(safe_sqrt(tensor(x))), [0.0, 2.0, np.inf, np.nan, 0.0])


def test_scale_to_divide_by():
    assert float(numpy(max_abs(training, tensor([0.0, 0.0])))) == 1.0
    assert float(numpy(max_abs(training, tensor([1.0, -3.0])))) == 3.0
    assert np.isnan(numpy(max_abs(training, tensor([np.nan, 1.0]))))


def test_mixed_norm_does_not_overflow():
    np.testing.assert_allclose(
        numpy(mixed_norm(training, tensor(1e30), tensor(4e30))), 2e30, rtol=1e-6
    )
    assert float(numpy(mixed_norm(training, tensor(0.0), tensor(0.0)))) == 0.0


def test_per_sample():
    assert tuple(per_sample(tensor([1.0, 2.0]), 4).shape) == (2, 1, 1, 1)
    assert tuple(per_sample(tensor(1.0), 2).shape) == (1, 1)
