"""Maps without weights: those that move entries, and means."""

import math

import numpy as np

from keraslip.certify.norms import dense_norm
from keraslip.certify.norms.rounding import INFLATION, times, up
from keraslip.certify.operators.proved import Proved, register_operator
from keraslip.certify.operators.upwards import Upwards
from keraslip.linear import (
    AveragePoolMap,
    CropMap,
    Identity,
    LinearMap,
    MeanMap,
    PermuteMap,
    ReshapeMap,
    TakeMap,
    ZeroPadMap,
)
from keraslip.lockless import cached_property
from keraslip.typing import Tensor


class _Unsigned(Proved):
    """Base of maps whose coefficients are positive and too large to vanish."""

    @cached_property
    def absolute(self) -> Proved:
        return self

    def vanishing(self, smallest: float) -> None:
        return None


class _Copying(_Unsigned):
    """Base of maps whose output entries are input entries, or zero: nothing rounds."""

    reads_columns = True

    @cached_property
    def flushes(self) -> np.ndarray:
        return np.zeros((1, *self.out_shape))

    def whole_rows(self) -> np.ndarray:
        return self.forward(np.ones((1, *self.in_shape)))

    def weighed_rows(self, upwards: Upwards, columns: Tensor) -> Tensor:
        return upwards.map(self.map).forward(columns)


@register_operator(LinearMap)  # any map that says that it only moves entries
@register_operator(Identity)
@register_operator(ReshapeMap)
@register_operator(PermuteMap)
@register_operator(ZeroPadMap)
@register_operator(CropMap)
class ProvedMoving(_Copying):
    """Every output entry is one input entry, used once, or zero."""

    terms, fan_out, swell, vanished = 0, 0, 1.0, 0.0

    def build_norm(self) -> float:
        return 1.0

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        return float((rows * self.forward(columns[None])[0]).max())


@register_operator(TakeMap)
class ProvedTaken(_Copying):
    """Every output entry is one input entry, which may be used several times: columns are orthogonal."""

    map: TakeMap

    def build_norm(self) -> float:
        return math.sqrt(self.map.most)

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        # No square may vanish.
        weights = np.where(rows > 0.0, np.maximum(rows, 2.0**-400), rows)
        lengths = np.sqrt(self.adjoint(np.square(weights)[None])[0])
        bound = float(up(times(up(lengths, self.fan_out), columns).max()))
        return min(bound, self.by_norm(rows, columns))


class _Mean(_Unsigned):
    """Base of means: sums that are divided."""

    map: AveragePoolMap | MeanMap

    @cached_property
    def terms(self) -> int:
        return self.map.window

    @cached_property
    def swell(self) -> float:
        return float(self.map.window)

    def local_norm(self, rows: np.ndarray, columns: np.ndarray) -> float:
        return self.by_norm(rows, columns)


@register_operator(AveragePoolMap)
class ProvedPool(_Mean):
    """Average pooling: one matrix along the height and one along the width."""

    @property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(self.map, AveragePoolMap) and self.map.sides is not None
        return self.map.sides

    def build_norm(self) -> float:
        # A Kronecker product: the norms multiply.
        high, wide = self.sides
        return dense_norm(high) * dense_norm(wide)

    def whole_rows(self) -> np.ndarray:
        high, wide = (np.sqrt(np.square(side).sum(axis=0)) for side in self.sides)
        return up((high[:, None] * wide)[None, ..., None] * (1.0 + self.slack))


@register_operator(MeanMap)
class ProvedMean(_Mean):
    """Mean over height and width."""

    def build_norm(self) -> float:
        return float(self.map.window**-0.5 * INFLATION)

    def whole_rows(self) -> np.ndarray:
        return np.full((1, *self.out_shape), self.norm)
