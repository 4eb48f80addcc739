"""Norm of a linear map that is known by its products only: a bound that holds with high probability."""

import math

import numpy as np

from keraslip.certify.norms.lanczos import Operator, lanczos, largest_ritz
from keraslip.certify.norms.rounding import INFLATION, UNIT64
from keraslip.certify.norms.scaling import exponent_of, times_power, unscaled

#: A start's component along the top vector is trusted down to this multiple of its rounding errors.
_TRUSTED = 2.0**20
#: Rounding errors of one Lanczos step with reorthogonalisation, in units of u and the norm.
_STEP_ERROR = 64.0
_BISECTIONS = 80


def probabilistic_norm(
    forward: Operator,
    adjoint: Operator,
    size: int,
    delta: float,
    rng: np.random.Generator,
    steps: int = 60,
) -> float:
    """Upper bound of the norm of A that fails with probability at most delta over the random starts.

    Let v be uniform on the sphere of dimension n, g_1 its component along the top eigenvector of A^T A,
    and p_k the polynomial of degree k with `p_k(A^T A) v` = the (k + 1)-th Lanczos vector, of norm one.
    Then `1 >= |g_1 p_k(lambda_1)|`. The density of g_1 is at most
    `Gamma(n/2) / (sqrt(pi) Gamma((n-1)/2)) < sqrt((n - 1) / (2 pi))` for n > 2, so that
    `P(|g_1| <= g) <= g sqrt(2 n / pi)`; for n = 2, `P = 2 asin(g) / pi <= g`, and for n = 1 it is 0.
    With `g = delta / sqrt(2 n / pi)`, `p_k(lambda_1) < 1 / g` except with probability delta. Beyond its
    largest root p_k increases, so lambda_1 lies below the t at which `p_k(t) = 1 / g`.

    A g near the rounding errors of the start would say nothing. Independent starts, each with
    `delta^(1 / starts)`, and the largest of their bounds fail together with probability delta: there are as
    many as it takes to keep g well above. The last residual is enlarged by the errors of a step.
    This accounts for rounding to first order; it is not a proof.

    Args:
        forward: `x -> A x` on flat float64 vectors.
        adjoint: `y -> A^T y`.
        size: Length of x.
        delta: Allowed probability that the bound is below the norm, in (0, 1).
        rng: Source of the starts. A fixed seed would let a designer of weights hide the top vector.
        steps: Lanczos steps from each start.

    Returns:
        The bound, 0.0 for a zero map, infinite if a product is not finite.

    Raises:
        ValueError: If delta is not in (0, 1) or steps is not positive.

    Reference:

    - Hochstenbach, 2013, Probabilistic upper bounds for the matrix two-norm, J. Sci. Comput. 57, 464-476.
    """
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta must be between 0 and 1. Received: delta={delta}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1. Received: steps={steps}")
    if size == 0:
        return 0.0
    starts = 1
    while _component(delta, starts, size) < _TRUSTED * steps * UNIT64 and starts < 8:
        starts += 1
    component = _component(delta, starts, size)
    draws = (rng.standard_normal(size) for _ in range(starts))
    return max(_one_start(forward, adjoint, draw, component, steps) for draw in draws)


def _component(delta: float, starts: int, size: int) -> float:
    """The g that a start's component along the top vector exceeds, but for its share of delta."""
    return math.exp(math.log(delta) / starts) / math.sqrt(2.0 * size / math.pi) / INFLATION


def _one_start(
    forward: Operator, adjoint: Operator, start: np.ndarray, component: float, steps: int
) -> float:
    with np.errstate(all="ignore"):
        image = forward(start / np.linalg.norm(start))
    if not np.isfinite(image).all():
        return math.inf
    if not image.any():
        return 0.0  # a random start is in the kernel of the zero map only
    exponent = exponent_of(image)

    def gram(vector: np.ndarray) -> np.ndarray:
        product = times_power(forward(vector), -exponent)
        return np.asarray(times_power(adjoint(product), -exponent))

    with np.errstate(all="ignore"):
        alpha, beta = lanczos(gram, start, steps)
    if not (np.isfinite(alpha).all() and np.isfinite(beta).all()):
        return math.inf
    level = polynomial_root(alpha, beta, -math.log(component))
    return unscaled(math.sqrt(level) * INFLATION, exponent)


def polynomial_root(alpha: np.ndarray, beta: np.ndarray, log_value: float) -> float:
    """The t beyond all roots of the Lanczos polynomial p where `log p(t) = log_value`, or just above."""
    low = largest_ritz(alpha, beta)
    error = _STEP_ERROR * len(alpha) * UNIT64 * low
    divisors = np.append(beta[:-1], beta[-1] + error)
    high = low + error
    while not _log_polynomial(high, alpha, divisors) >= log_value:
        high = low + 2.0 * (high - low)
        if not math.isfinite(high):
            return math.inf
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if _log_polynomial(middle, alpha, divisors) >= log_value:
            high = middle
        else:
            low = middle
    return high + error


def _log_polynomial(t: float, alpha: np.ndarray, divisors: np.ndarray) -> float:
    """`log p(t)` by the recurrence of `p_j / p_(j-1)`, minus infinity up to the largest root."""
    total, ratio, coupling = 0.0, math.inf, 0.0
    for diagonal, divisor in zip(alpha, divisors, strict=True):
        ratio = (t - diagonal - coupling / ratio) / divisor
        if not ratio > 0.0:
            return -math.inf
        total, coupling = total + math.log(ratio), divisor
    return total
