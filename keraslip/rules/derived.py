"""Weights that follow from other weights, and are kept for inference."""

from abc import ABC, abstractmethod
from typing import Any


class DerivedWeights(ABC):
    """A layer that keeps what it makes of its trained weights, so that inference need not make it again.

    What runs, is saved and certified then is one set of stored numbers, whatever a backend makes of the
    formula. The layer itself updates them in every training step.
    """

    @abstractmethod
    def settle(self) -> None:
        """Computes them anew where the trained weights were changed past the layer."""


def settle(model: Any) -> None:
    """Brings all derived weights of a model up to its trained ones."""
    for layer in model._flatten_layers():
        if isinstance(layer, DerivedWeights):
            layer.settle()
