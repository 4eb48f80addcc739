"""Activations: one class each, the same formulas in training, in proofs and in exported graphs."""

from keraslip.activations.activation import Activation, Slopes
from keraslip.activations.clipped_relu import ClippedReLU
from keraslip.activations.functions import (
    ELU,
    GELU,
    ApproximateGELU,
    HardSiLU,
    LogSigmoid,
    Mish,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    SparsePlus,
    Squareplus,
    Tanh,
    TanhShrink,
)
from keraslip.activations.group_sort import GroupSort
from keraslip.activations.largest import Largest
from keraslip.activations.maxmin import MaxMin
from keraslip.activations.piecewise_linear import PiecewiseLinear
from keraslip.activations.smooth import Smooth

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "ApproximateGELU",
    "ClippedReLU",
    "GroupSort",
    "HardSiLU",
    "Largest",
    "LogSigmoid",
    "MaxMin",
    "Mish",
    "PiecewiseLinear",
    "SiLU",
    "Sigmoid",
    "Slopes",
    "Smooth",
    "Softplus",
    "Softsign",
    "SparsePlus",
    "Squareplus",
    "Tanh",
    "TanhShrink",
]
