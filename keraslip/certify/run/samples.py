"""A block of samples, and what certification knows of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from keraslip.certify.execution.block import Block
from keraslip.certify.result.certificates import Certificates
from keraslip.certify.result.status import is_certified
from keraslip.certify.run.settings import Settings


@dataclass(eq=False)
class Samples:
    """What is known of some samples; filled in place, stage by stage."""

    block: Block  #: The inputs, and how far they are from what was given.
    asked: np.ndarray  #: Radii around what was given, `(n,)`.
    logits: np.ndarray  #: Logits as executed, `(n, classes)`.
    label: np.ndarray  #: The class of each sample, `(n,)`.
    epsilon: np.ndarray  #: Radii around the inputs that hold those asked for, `(n,)`.
    status: np.ndarray  #: See `Certificates`; `"pending"` where no stage has settled it.
    margin: np.ndarray  #: Best lower bound yet.
    lipschitz: np.ndarray  #: Best upper bound yet.
    radius: np.ndarray  #: Certified radius around the inputs.
    #: How far executed logits at the center may be from exact ones, in L2; 0 until it is known.
    rounding: np.ndarray
    #: Inputs that fool the model, by index.
    counterexamples: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def begin(cls, block: Block, asked: np.ndarray, logits: np.ndarray) -> "Samples":
        """What executed logits say: whatever is wrong, tied or not finite is settled."""
        predicted, n = logits.argmax(axis=1), len(logits)
        label = predicted.astype("int64") if block.y is None else block.y
        status = np.full(n, "pending", dtype="U16")
        status[(logits == logits.max(axis=1, keepdims=True)).sum(axis=1) > 1] = "tied"
        status[predicted != label] = "misclassified"
        status[~np.isfinite(logits).all(axis=1)] = "nonfinite"
        unknown = np.full(n, -np.inf), np.full(n, np.inf), np.zeros(n), np.zeros(n)
        return cls(block, asked, logits, label, block.radii(asked), status, *unknown)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def x(self) -> np.ndarray:
        """The inputs, `(n, *shape)`."""
        return self.block.x

    @property
    def open(self) -> np.ndarray:
        """Indices of the samples that are not settled."""
        return np.flatnonzero(self.status == "pending")

    @property
    def certified(self) -> np.ndarray:
        """Whether a stage has certified each sample, `(n,)`."""
        return is_certified(self.status)

    def balls(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, labels and radii of some samples."""
        return self.x[rows], self.label[rows], self.epsilon[rows]

    def settle(self, rows: np.ndarray, by: str | np.ndarray) -> None:
        """Notes what settled some samples."""
        self.status[rows] = by

    def at(self, epsilon: np.ndarray) -> "Samples":
        """The same samples in balls of other radii `(n,)`, whose Lipschitz bounds nobody knows."""
        n = len(self)
        return replace(self, epsilon=epsilon, lipschitz=np.full(n, np.inf), rounding=np.zeros(n))

    def to_certificates(self, settings: Settings, details: Mapping[str, Any]) -> Certificates:
        """The result, about balls around what was given; details are shared and not copied."""
        radius = None
        if settings.radius:
            # What is certified around x at the larger radius is so around what was given, as far as asked.
            radius = self.block.around_given(self.radius)
            radius = np.where(self.certified, np.maximum(radius, self.asked), radius)
        return Certificates(
            label=self.label,
            certified=self.certified,
            margin=self.margin,
            lipschitz=self.lipschitz,
            radius=radius,
            status=self.status,
            epsilon=self.asked,
            guarantee=settings.guarantee,
            arithmetic=settings.arithmetic,
            details=details,  # type: ignore[arg-type]
            counterexamples=self.counterexamples,
        )
