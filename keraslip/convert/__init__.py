"""A model that someone has, as one whose robustness can be proved and trained."""

from keraslip.convert.conversion import from_keras as from_keras
from keraslip.convert.preview import check_plain as check_plain

__all__ = ["check_plain", "from_keras"]
