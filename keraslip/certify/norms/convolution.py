"""Norm of a zero-padded convolution from the symbol of a circular one."""

import math
from dataclasses import replace

import numpy as np

from keraslip.certify.norms.dense import dense_norm
from keraslip.certify.norms.geometry import Convolution, conv_matrix
from keraslip.certify.norms.proof import prove_each
from keraslip.certify.norms.rounding import INFLATION, UNIT64, gamma, mixed_bound
from keraslip.certify.norms.scaling import exponent_of, is_finite, times_power, unscaled
from keraslip.certify.norms.sparse import sparse_norm
from keraslip.certify.norms.symbol import Symbol, conv_symbol

#: Entries of the symbols and Gram matrices that are held at one time, 64 MiB.
_CHUNK = 2**22
#: Up to this many units on one side, the matrix itself is bounded as well.
_SMALL = 1024
_POWER_STEPS = 8
_ATTEMPTS = 3


def conv_norm(conv: Convolution) -> float:
    """Proved upper bound of the spectral norm of a zero-padded two-dimensional convolution.

    The convolution is part of a circular one, on a torus just large enough, whose norm is the largest over
    frequencies of the norm of a `channels_out x (channels_in * phases)` matrix. Above the norm itself by
    0.1 to 3 % where the image is several times larger than the reach of the kernel. The matrices of small
    images are bounded directly, to 0.2 %.

    Returns:
        The bound: it scales exactly with powers of two, is 0.0 if nothing of the image is read, and infinite
        if a weight is not finite.

    Reference:

    - Sedghi, Gupta, Long, 2019, The singular values of convolutional layers, arXiv 1805.10408.
    - Rump, 2006, Verification of positive definiteness, BIT 46, 433-452.
    """
    kernel = np.asarray(conv.kernel, dtype=np.float64)
    if kernel.size == 0:
        return 0.0
    if not is_finite(kernel):
        return math.inf
    if is_pointwise(conv):
        # One matrix for every pixel that is read, and none is read twice.
        return dense_norm(kernel[0, 0], tight=True)
    symbol = conv_symbol(Convolution(kernel, *conv[1:]))
    if symbol is None or not symbol.weights.any():
        return 0.0
    # The largest weight of a tap that counts: the others may be of any size.
    exponent = exponent_of(symbol.weights)
    symbol = replace(symbol, weights=times_power(symbol.weights, -exponent))
    bound = unscaled(_torus_bound(symbol), exponent)
    inputs = math.prod(conv.image) * kernel.shape[2] * conv.groups
    if min(inputs, math.prod(conv.out_image) * kernel.shape[3]) <= _SMALL:
        # The torus is far from a tiny image.
        bound = min(bound, sparse_norm(conv_matrix(conv)))
    return bound


def is_pointwise(conv: Convolution) -> bool:
    """Whether every output pixel reads one pixel of the image, all of its channels, and no two the same."""
    reads = [conv.positions(axis) for axis in (0, 1)]
    inside = all(((0 <= r) & (r < n)).all() for r, n in zip(reads, conv.image, strict=True))
    return inside and conv.kernel.shape[:2] == (1, 1) and conv.groups == 1


def _torus_bound(symbol: Symbol) -> float:
    """Bound of the norm of the circular convolution, its weights scaled to one."""
    level, magnitude = largest_gram(symbol), symbol.magnitude()
    gram_error = gamma(4 * (max(symbol.shape()) + 2), UNIT64) * 1.01 * magnitude**2
    bound = (math.sqrt(level + gram_error) + symbol.error()) * INFLATION
    return min(bound, _simple(symbol.weights))


def largest_gram(symbol: Symbol) -> float:
    """Level that no eigenvalue of a computed Gram matrix of the symbol exceeds, proved."""
    rows, columns = symbol.shape()
    entries = symbol.weights.shape[1] * (2 * rows * columns + 3 * min(rows, columns) ** 2)
    frequencies = symbol.frequencies()
    chunks = min(len(frequencies), -(-len(frequencies) * entries // _CHUNK))
    level = 0.0
    for chunk in np.array_split(frequencies, chunks):
        level = _raise_level(_grams(symbol.at(chunk)), level)
    return level


def _grams(matrices: np.ndarray) -> np.ndarray:
    """Gram matrices on the smaller side of a batch."""
    conjugate = np.conj(np.swapaxes(matrices, -1, -2))
    rows, columns = matrices.shape[-2:]
    return np.asarray(matrices @ conjugate if rows <= columns else conjugate @ matrices)


def _raise_level(grams: np.ndarray, level: float) -> float:
    """The least level, from the one given upwards, that can be proved for every matrix of a batch."""
    estimates = _estimates(grams)
    if estimates.max() > level:
        level = _above(grams[estimates.argmax()][None], level)
    for _ in range(_ATTEMPTS):
        grams = grams[_upper(grams) > level]
        grams = grams[~prove_each(grams, level)]
        if not len(grams):
            return level
        level = _above(grams, level)
    return math.inf


def _above(grams: np.ndarray, level: float) -> float:
    """A level just above the largest eigenvalue, with room for the shift of the proof."""
    size = grams.shape[-1]
    room = 1e-9 + 4.0 * size * gamma(4 * (size + 2), UNIT64)
    return max(level * (1.0 + 1e-6), float(np.linalg.eigvalsh(grams).max()) * (1.0 + room))


def _estimates(grams: np.ndarray) -> np.ndarray:
    """Lower estimates of the largest eigenvalues, by a few power iterations."""
    vectors = np.random.default_rng(0).standard_normal((1, grams.shape[-1], 1))
    norms = np.ones((len(grams), 1, 1))
    for _ in range(_POWER_STEPS):
        vectors = grams @ vectors
        norms = np.sqrt(np.square(np.abs(vectors)).sum(axis=1, keepdims=True))
        vectors = np.divide(vectors, norms, out=vectors, where=norms > 0.0)
    return np.asarray(norms[:, 0, 0])


def _upper(grams: np.ndarray) -> np.ndarray:
    """Cheap upper bounds of the largest eigenvalues: trace and row sums, whichever is smaller."""
    trace = np.trace(grams, axis1=-2, axis2=-1).real
    rows = np.abs(grams).sum(axis=-1).max(axis=-1)
    return np.asarray(np.minimum(trace, rows) * (INFLATION + gamma(grams.shape[-1], UNIT64)))


def _simple(weights: np.ndarray) -> float:
    """Bound `sqrt(|A|_1 |A|_inf)` from the taps that count."""
    magnitude = np.abs(weights)
    into_one = magnitude.sum(axis=(0, 3)).max()
    from_one = magnitude.sum(axis=(0, 2)).max()
    return mixed_bound(float(from_one), float(into_one), weights.size) * INFLATION
