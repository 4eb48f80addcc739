"""Rules: how each layer type carries the bound. One place a layer."""

from keraslip.rules import activations as _activations  # noqa: F401 - registers its rules
from keraslip.rules import einsum as _einsum  # noqa: F401
from keraslip.rules import extremes as _extremes  # noqa: F401
from keraslip.rules import linear as _linear  # noqa: F401
from keraslip.rules import max_pooling as _max_pooling  # noqa: F401
from keraslip.rules import merge as _merge  # noqa: F401
from keraslip.rules import noise as _noise  # noqa: F401
from keraslip.rules import normalization as _normalization  # noqa: F401
from keraslip.rules import operations as _operations  # noqa: F401
from keraslip.rules import resize as _resize  # noqa: F401
from keraslip.rules import scale as _scale  # noqa: F401
from keraslip.rules import sequence as _sequence  # noqa: F401
from keraslip.rules import shape as _shape  # noqa: F401
from keraslip.rules import volume as _volume  # noqa: F401
from keraslip.rules.bases import ActivationRule as ActivationRule
from keraslip.rules.bases import LinearRule as LinearRule
from keraslip.rules.propagation import BOUNDS as BOUNDS
from keraslip.rules.propagation import Propagation as Propagation
from keraslip.rules.registry import register_rule as register_rule
from keraslip.rules.registry import rule_for as rule_for
from keraslip.rules.rule import MismatchError as MismatchError
from keraslip.rules.rule import Rule as Rule
from keraslip.rules.rule import UnsupportedLayerError as UnsupportedLayerError
