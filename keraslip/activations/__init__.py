"""Activations: one class each, the same formulas in training, in proofs and in exported graphs."""

from keraslip.activations.activation import Activation, Slopes
from keraslip.activations.clipped_relu import ClippedReLU
from keraslip.activations.group_sort import GroupSort
from keraslip.activations.largest import Largest
from keraslip.activations.maxmin import MaxMin
from keraslip.activations.piecewise_linear import PiecewiseLinear

__all__ = [
    "Activation",
    "ClippedReLU",
    "GroupSort",
    "Largest",
    "MaxMin",
    "PiecewiseLinear",
    "Slopes",
]
