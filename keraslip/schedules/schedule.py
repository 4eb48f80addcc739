"""Values that change over a training run, as functions of its progress."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from keraslip.typing import Tensor

_PROGRESS: ContextVar[Any] = ContextVar("keraslip_progress", default=1.0)


@contextmanager
def at_progress(progress: Tensor | float) -> Iterator[None]:
    """Sets the progress of the run that `current` reads, for the code inside the `with`."""
    token = _PROGRESS.set(progress)
    try:
        yield
    finally:
        _PROGRESS.reset(token)


def current(value: "Schedule | float") -> Tensor | float:
    """The value of a schedule at the progress of the run; a number stays what it is.

    Outside training, progress is 1: schedules are at their end value.
    """
    return value(_PROGRESS.get()) if isinstance(value, Schedule) else value


class Schedule(ABC):
    """A value as a function of the progress of a run, from 0 (start) to 1 (end).

    The run is one `fit`: progress counts training steps on the model's own step weight, so a schedule
    works under `jit`, costs nothing and resumes exactly. Override `value_at`.
    """

    def __call__(self, progress: Tensor | float) -> Tensor:
        """The value at a progress, clipped to [0, 1]; a scalar float32 tensor."""
        return self.value_at(ops.clip(ops.cast(progress, "float32"), 0.0, 1.0))

    @abstractmethod
    def value_at(self, progress: Tensor) -> Tensor:
        """The value at a progress in [0, 1]."""

    @abstractmethod
    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Schedule":
        """Builds the schedule from `get_config`."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="keraslip")
class PiecewiseLinear(Schedule):
    """Straight lines between given points; the first and last value hold outside them.

    Args:
        positions: Increasing fractions of the run in [0, 1].
        values: The value at each position.

    Raises:
        ValueError: if positions do not increase within [0, 1], lengths differ, or a value is not finite.

    Example:

    >>> float(keraslip.schedules.PiecewiseLinear([0.0, 0.5], [1.0, 0.0])(0.25))
    0.5
    """

    def __init__(self, positions: Sequence[float], values: Sequence[float]) -> None:
        self.positions = [float(p) for p in positions]
        self.values = [float(v) for v in values]
        increasing = all(a < b for a, b in zip(self.positions, self.positions[1:], strict=False))
        inside = all(0.0 <= p <= 1.0 for p in self.positions)
        finite = all(math.isfinite(v) for v in self.values)
        paired = len(self.values) == len(self.positions)
        if not (self.positions and increasing and inside and paired and finite):
            raise ValueError(
                "positions must increase within [0, 1], with one finite value each. "
                f"Received: positions={positions}, values={values}"
            )

    def value_at(self, progress: Tensor) -> Tensor:
        value = ops.convert_to_tensor(self.values[0], "float32")
        points = list(zip(self.positions, self.values, strict=True))
        for (p0, v0), (p1, v1) in zip(points, points[1:], strict=False):
            share = (progress - p0) / (p1 - p0)
            line = v0 + (v1 - v0) * share
            # At and after p1 the value is v1 itself, not a rounded line: nothing overshoots.
            value = ops.where(progress >= p1, v1, ops.where(progress > p0, line, value))
        return ops.cast(value, "float32")

    def get_config(self) -> dict[str, Any]:
        return {"positions": self.positions, "values": self.values}


@keras.saving.register_keras_serializable(package="keraslip")
class LinearRamp(PiecewiseLinear):
    """From `start` to `end` between two positions of the run; holds `end` exactly afterwards.

    Args:
        start: Value up to `begin`.
        end: Value from `until` on.
        begin: Position where the ramp starts, a fraction of the run.
        until: Position where it ends, a fraction of the run.

    Raises:
        ValueError: unless `0 <= begin < until <= 1` and both values are finite.

    Example:

    >>> float(keraslip.schedules.LinearRamp(0.0, 0.25, until=0.5)(0.75))
    0.25
    """

    def __init__(self, start: float, end: float, begin: float = 0.0, until: float = 0.5) -> None:
        numbers = (start, end, begin, until)
        if not all(map(math.isfinite, numbers)) or not 0.0 <= begin < until <= 1.0:
            raise ValueError(
                "A ramp goes between finite values, from begin to until, fractions of the run: "
                f"0 <= begin < until <= 1. Received: start={start}, end={end}, begin={begin}, until={until}"
            )
        super().__init__([begin, until], [start, end])

    def get_config(self) -> dict[str, Any]:
        (begin, until), (start, end) = self.positions, self.values
        return {"start": start, "end": end, "begin": begin, "until": until}


@keras.saving.register_keras_serializable(package="keraslip")
class Constant(PiecewiseLinear):
    """The same value throughout.

    Args:
        value: The value.

    Raises:
        ValueError: if it is not finite.
    """

    def __init__(self, value: float) -> None:
        super().__init__([0.0], [value])

    def get_config(self) -> dict[str, Any]:
        return {"value": self.values[0]}
