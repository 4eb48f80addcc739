"""Tests for whoever adds a layer, a linear map or an activation: what keraslip's own tests use.

Each raises `AssertionError` whose first word says what is wrong: `adjoint`, `row norms`, `slopes`, ...
"""

from keraslip.testing.activations import check_activation as check_activation
from keraslip.testing.linear_maps import check_map as check_map
from keraslip.testing.rules import run_rule_test as run_rule_test

__all__ = ["check_activation", "check_map", "run_rule_test"]
