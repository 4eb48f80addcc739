"""Operators that are made of an array of coefficients, and what is known of these numbers."""

from abc import abstractmethod
from functools import cached_property

import numpy as np

from keraslip.certify.norms.rounding import up
from keraslip.certify.operators.operator import Operator


class StoredOperator(Operator):
    """Base of operators with an array of coefficients."""

    @property
    @abstractmethod
    def coefficients(self) -> np.ndarray:
        """All coefficients."""

    @abstractmethod
    def sums(self, magnitudes: np.ndarray) -> np.ndarray:
        """Numbers in the places of the coefficients, added up for every output, `(1, *out_shape)`."""

    @cached_property
    def greatest(self) -> float:
        numbers = self.coefficients
        return float(np.maximum(numbers.max(initial=0.0), -numbers.min(initial=0.0)))

    @cached_property
    def least(self) -> float:
        """The smallest magnitude but zero, infinite if there is none."""
        magnitude = np.abs(self.coefficients)
        return float(np.where(magnitude == 0.0, np.inf, magnitude).min(initial=np.inf))

    def vanishing(self, smallest: float) -> np.ndarray | None:
        if self.least >= smallest:
            return None
        magnitude = np.abs(self.coefficients)
        return up(self.sums(np.where(magnitude < smallest, magnitude, 0.0)), self.terms)
