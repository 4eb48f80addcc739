"""Attacks: the empirical side of every certificate. One attack a file."""

from keraslip.attacks.accuracy import accuracy_under_attack as accuracy_under_attack
from keraslip.attacks.pgd import pgd_l2 as pgd_l2

__all__ = ["accuracy_under_attack", "pgd_l2"]
