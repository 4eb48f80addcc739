"""A model that someone has, as one whose robustness can be proved and trained."""

from keraslip.convert.conversion import from_keras as from_keras

__all__ = ["from_keras"]
