"""Layers with a learned part in the bound. One class a file, its rule beside it."""

from keraslip.layers.aol_conv2d import AOLConv2D as AOLConv2D
from keraslip.layers.aol_dense import AOLDense as AOLDense
from keraslip.layers.clipped_maxmin import ClippedMaxMin as ClippedMaxMin
from keraslip.layers.clipped_relu import ClippedReLU as ClippedReLU
from keraslip.layers.delta_orthogonal import DeltaOrthogonal as DeltaOrthogonal
from keraslip.layers.group_sort import GroupSort as GroupSort
from keraslip.layers.masked_lipschitz_conv2d import MaskedLipschitzConv2D as MaskedLipschitzConv2D
from keraslip.layers.masked_lipschitz_dense import MaskedLipschitzDense as MaskedLipschitzDense
from keraslip.layers.maxmin import MaxMin as MaxMin

__all__ = [
    "AOLConv2D",
    "AOLDense",
    "ClippedMaxMin",
    "ClippedReLU",
    "DeltaOrthogonal",
    "GroupSort",
    "MaskedLipschitzConv2D",
    "MaskedLipschitzDense",
    "MaxMin",
]
