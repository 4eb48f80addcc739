"""What certification knows of a block of samples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Every status, in the order of the table. The first ones are certified, by the stage that settled them.
CERTIFIED_BY = ("global", "dense", "convolution")
STATUSES = (*CERTIFIED_BY, "attacked", "misclassified", "tied", "nonfinite", "unknown", "pending")
#: Told after every stage: what has begun, and how many samples the last one settled.
Report = Callable[[str, int], None]


@dataclass(eq=False)
class Findings:
    """What is known so far of some samples; filled stage by stage.

    Args:
        label: The class of each sample, `(n,)`.
        status: See `Certificates`; `"pending"` where no stage has settled it.
        margin: Best lower bound yet.
        lipschitz: Best upper bound yet.
        radius: Certified radius.
        counterexamples: Inputs that fool the model, by index.
        rounding: How far executed logits at the center may be from exact ones, in L2; 0 until it is known.
    """

    label: np.ndarray
    status: np.ndarray
    margin: np.ndarray
    lipschitz: np.ndarray
    radius: np.ndarray
    counterexamples: dict[int, np.ndarray]
    rounding: np.ndarray

    @classmethod
    def empty(cls, label: np.ndarray) -> "Findings":
        """Nothing known."""
        n = len(label)
        unknown = np.full(n, -np.inf), np.full(n, np.inf), np.zeros(n)
        return cls(label, np.full(n, "pending", dtype="U16"), *unknown, {}, np.zeros(n))

    @property
    def open(self) -> np.ndarray:
        """Indices of the samples that are not settled."""
        return np.flatnonzero(self.status == "pending")
