"""What a sample's certificate rests on, or why it has none: names and meanings, in the table's order."""

from typing import Any

import numpy as np

#: Stages of the proof, cheapest first; each is called by what it takes into account.
CERTIFIED_BY = ("slopes", "dense", "boxes", "convolution")
#: What is left to say of the others.
_SETTLED = ("attacked", "misclassified", "tied", "nonfinite", "unknown", "pending")
STATUSES = (*CERTIFIED_BY, *_SETTLED)
#: Every status and what it means; those of guarantee "estimate" stand beside what they resemble.
MEANING = {
    "slopes": "certified: anchored slopes, composite bound, one norm of each layer for all samples",
    "dense": "certified: norms of dense layers over varying units",
    "boxes": "certified: narrower boxes, by the composite bound of every unit that is not certain",
    "convolution": "certified: norms of convolutions over varying units",
    "estimated": "would be certified if the estimates were bounds",
    "attacked": "a perturbation that changes the label was found",
    "misclassified": "the label given is not the one predicted",
    "tied": "two logits are equal",
    "nonfinite": "a number was not finite",
    "unknown": "neither certified nor attacked",
    "not estimated": "not certified even by the estimate",
    "pending": "not looked at: stopped before the end",
}
#: What older files call a status: "global" is a bound, and the first stage proves more than that one.
_RENAMED = {"global": "slopes"}


def is_certified(status: Any) -> np.ndarray:
    """Whether a stage of the proof settled each sample, bool of the shape of the statuses."""
    return np.isin(status, CERTIFIED_BY)


def of_today(status: np.ndarray) -> np.ndarray:
    """Statuses of a file of any version by the names that they have now."""
    for old, new in _RENAMED.items():
        status = np.where(status == old, np.asarray(new, status.dtype), status)
    return status
