"""Average pooling and means."""

import math

import numpy as np

from keraslip.certify.norms import dense_norm
from keraslip.certify.norms.rounding import FLOAT32, INFLATION, up
from keraslip.certify.operators.dense import as_float64
from keraslip.certify.operators.operator import Operator, Shape, register_operator
from keraslip.linear import AveragePoolMap, MeanMap


class PoolOperator(Operator):
    """Average pooling in channels-last layout: one matrix along the height and one along the width.

    Args:
        along_height: Array `(height, out_height)`.
        along_width: Array `(width, out_width)`.
        channels: Number of channels.
        window: Number of pixels that one output adds up before it divides. A backend may repeat pixels at
            the border, and add them as often: the matrices do not show it.
    """

    one_sum = True

    def __init__(
        self, along_height: np.ndarray, along_width: np.ndarray, channels: int, window: int
    ) -> None:
        sides = (along_height, along_width)
        super().__init__(
            (along_height.shape[0], along_width.shape[0], channels),
            (along_height.shape[1], along_width.shape[1], channels),
            window,
            slack=4 * FLOAT32,  # shares such as 1/3 were read as float32
        )
        self.along_height, self.along_width = sides
        self.swell = float(window)

    def forward(self, x: np.ndarray) -> np.ndarray:
        sides = (side.astype(x.dtype, copy=False) for side in (self.along_height, self.along_width))
        return np.einsum("bhwc,hp,wq->bpqc", x, *sides, optimize=True)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return np.einsum("bpqc,hp,wq->bhwc", y, self.along_height, self.along_width, optimize=True)

    def build_absolute(self) -> Operator:
        return self

    def vanishing(self, smallest: float) -> None:
        return None

    def build_norm(self) -> float:
        # A Kronecker product: the norms multiply.
        return dense_norm(self.along_height) * dense_norm(self.along_width)

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        high, wide = (
            np.sqrt(np.square(side).sum(axis=0)) for side in (self.along_height, self.along_width)
        )
        return up((high[:, None] * wide)[None, ..., None] * (1.0 + self.slack))


class MeanOperator(Operator):
    """Mean over height and width in channels-last layout.

    Args:
        in_shape: `(height, width, channels)`.
    """

    one_sum = True

    def __init__(self, in_shape: Shape) -> None:
        self._count = math.prod(in_shape[:-1])
        super().__init__(in_shape, (in_shape[-1],), self._count)
        self.swell = float(self._count)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x.mean(axis=(1, 2))

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return np.broadcast_to(y[:, None, None] / self._count, (len(y), *self.in_shape))

    def build_absolute(self) -> Operator:
        return self

    def vanishing(self, smallest: float) -> None:
        return None

    def build_norm(self) -> float:
        return float(self._count**-0.5 * INFLATION)

    def row_norms(self, columns: np.ndarray | None = None) -> np.ndarray:
        return np.full((1, *self.out_shape), self.norm)


@register_operator(AveragePoolMap)
def _pool(linear_map: AveragePoolMap) -> Operator:
    high, wide = (as_float64(side) for side in linear_map._both)
    return PoolOperator(high, wide, linear_map.in_shape[-1], linear_map.window)


@register_operator(MeanMap)
def _mean(linear_map: MeanMap) -> Operator:
    return MeanOperator(linear_map.in_shape)
