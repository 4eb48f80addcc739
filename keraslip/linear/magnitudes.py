"""Scales and roots that neither overflow, underflow nor give NaN gradients at zero, in any arithmetic."""

from typing import Any

from keraslip.typing import Tensor


def safe_sqrt(arithmetic: Any, x: Tensor) -> Tensor:
    """Square root of non-negative numbers with gradient zero (not infinite) at zero."""
    zero = x <= 0.0
    root = arithmetic.sqrt(arithmetic.where(zero, arithmetic.ones_like(x), x))
    return arithmetic.where(zero, arithmetic.zeros_like(x), root)


def max_abs(arithmetic: Any, x: Tensor) -> Tensor:
    """Largest magnitude with no gradient, 1 where all is zero: a scale to divide by."""
    scale = arithmetic.stop_gradient(arithmetic.max(arithmetic.abs(x)))
    return arithmetic.where(scale <= 0.0, arithmetic.ones_like(scale), scale)


def hypotenuse(arithmetic: Any, x: Tensor, y: Tensor) -> Tensor:
    """`sqrt(x^2 + y^2)` of numbers that are not negative."""
    most, least = arithmetic.maximum(x, y), arithmetic.minimum(x, y)
    share = least / arithmetic.where(most <= 0.0, arithmetic.ones_like(most), most)
    return most * arithmetic.sqrt(1.0 + arithmetic.square(share))


def mixed_norm(arithmetic: Any, column_sum: Tensor, row_sum: Tensor) -> Tensor:
    """`sqrt(||W||_1 ||W||_inf) >= ||W||_2` of the largest column and row sums; no product overflows."""
    return safe_sqrt(arithmetic, column_sum) * safe_sqrt(arithmetic, row_sum)
