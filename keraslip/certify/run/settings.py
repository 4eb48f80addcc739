"""Options of certification, checked."""

import os
from dataclasses import dataclass
from numbers import Real
from typing import Any

from keraslip.checks import check_count

GUARANTEES = ("proved", "probabilistic", "estimate")
ARITHMETICS = ("float32", "float64")
EFFORTS = ("full", "frozen")
CONVOLUTIONS = ("auto", "global", "local")


@dataclass(frozen=True)
class Settings:
    """How to certify; see `keraslip.LocalLipschitzModel.certify`.

    Raises:
        ValueError: naming the option that is out of range.
    """

    guarantee: str = "proved"
    arithmetic: str = "float32"
    effort: str = "full"
    conv: str = "auto"
    radius: bool = False
    delta: float = 1e-9
    workers: int | None = None
    batch_size: int = 256

    def __post_init__(self) -> None:
        for name, allowed in (
            ("guarantee", GUARANTEES),
            ("arithmetic", ARITHMETICS),
            ("effort", EFFORTS),
            ("conv", CONVOLUTIONS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {allowed}. Received: {name}={getattr(self, name)!r}"
                )
        if not isinstance(self.delta, Real) or not 0.0 < self.delta < 1.0:
            raise ValueError(
                f"delta must be a probability between 0 and 1. Received: delta={self.delta!r}"
            )
        for name in ("batch_size", "workers"):
            value = getattr(self, name)
            if name == "batch_size" or value is not None:
                object.__setattr__(self, name, check_count(value, name))

    @property
    def threads(self) -> int:
        """Number of samples worked on at once."""
        return self.workers or os.cpu_count() or 1

    @property
    def backwards(self) -> bool:
        """Whether the composite bound is used."""
        return self.effort == "full"

    def describe(self) -> dict[str, Any]:
        """What a result has to say of its making."""
        probabilistic = {"delta": self.delta} if self.guarantee == "probabilistic" else {}
        return {"effort": self.effort, "conv": self.conv, **probabilistic}
