"""keraslip: image classifiers whose L2 robustness is proved, trained with Keras.

Everything is reached from `import keraslip`; what needs an extra, or is only needed at the edges, is
imported when it is first used.
"""

from importlib import import_module
from typing import Any

from keraslip import console_backend as _console_backend

_console_backend.choose()

# isort: split
from keraslip import layers as layers
from keraslip import losses as losses
from keraslip import schedules as schedules
from keraslip.certify import Certificates as Certificates
from keraslip.certify import CertificateViolation as CertificateViolation
from keraslip.models import LocalLipschitzModel as LocalLipschitzModel
from keraslip.models.check import check_model as check_model
from keraslip.models.float32_copy import float32_copy as float32_copy
from keraslip.rules import register_rule as register_rule
from keraslip.version import __version__ as __version__

_LAZY = (
    "applications",
    "attacks",
    "bounds",
    "callbacks",
    "certify",
    "cli",
    "datasets",
    "distribution",
    "plots",
    "rules",
    "tuning",
)

__all__ = [
    "CertificateViolation",
    "Certificates",
    "LocalLipschitzModel",
    "__version__",
    "applications",
    "attacks",
    "callbacks",
    "check_model",
    "datasets",
    "distribution",
    "float32_copy",
    "layers",
    "losses",
    "plots",
    "register_rule",
    "rules",
    "schedules",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return import_module(f"keraslip.{name}")
    raise AttributeError(f"module 'keraslip' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
