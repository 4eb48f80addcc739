"""Proved maps of arrays, for tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keraslip.arithmetic import float64
from keraslip.certify.operators import Proved, prove
from keraslip.certify.operators.kernels import ProvedConv, ProvedDense, ProvedDiagonal
from keraslip.linear import (
    ConvGeometry,
    ConvMap,
    DenseMap,
    DiagonalMap,
    Identity,
    MovingMap,
    ReshapeMap,
)

Shape = tuple[int, ...]


def dense_operator(kernel: np.ndarray, in_shape: Shape, slack: float = 0.0) -> ProvedDense:
    return ProvedDense(DenseMap(kernel, in_shape, arithmetic=float64), slack)


def conv_operator(
    kernel: np.ndarray, in_shape: Shape, geometry: ConvGeometry, slack: float = 0.0
) -> ProvedConv:
    return ProvedConv(ConvMap(kernel, in_shape, geometry, arithmetic=float64), slack)


def diagonal_operator(scale: np.ndarray, shape: Shape, slack: float = 0.0) -> ProvedDiagonal:
    return ProvedDiagonal(DiagonalMap(scale, shape, arithmetic=float64), slack)


def reshaping(in_shape: Shape, out_shape: Shape) -> Proved:
    same = in_shape == out_shape
    return prove(Identity(in_shape) if same else ReshapeMap(in_shape, out_shape))


@dataclass(frozen=True, eq=False)
class Shuffled(MovingMap):
    """Entries of a vector in another order, with zeros between them."""

    source: tuple[int, ...] = ()

    @property
    def out_shape(self) -> Shape:
        return (len(self.source),)

    def forward(self, x: Any) -> Any:
        widened = self.arithmetic.pad(x, ((0, 0), (0, 1)))
        places = [self.in_shape[0] if place < 0 else place for place in self.source]
        return self.arithmetic.take(widened, places, axis=1)

    def adjoint(self, y: Any) -> Any:
        places = [self.source.index(place) for place in range(self.in_shape[0])]
        return self.arithmetic.take(y, places, axis=1)
