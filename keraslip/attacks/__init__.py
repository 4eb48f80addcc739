"""Attacks: the empirical side of every certificate. One attack a file."""

from keraslip.attacks.accuracy import accuracy_under_attack as accuracy_under_attack
from keraslip.attacks.adapters import as_foolbox as as_foolbox
from keraslip.attacks.adapters import as_torch as as_torch
from keraslip.attacks.pgd import pgd_l2 as pgd_l2

__all__ = ["accuracy_under_attack", "as_foolbox", "as_torch", "pgd_l2"]
