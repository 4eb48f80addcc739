"""keraslip: image classifiers whose L2 robustness is proved, trained with Keras.

Everything is reached from `import keraslip`. It imports Keras and what saved models are made of; the rest is
imported when it is first used. In the `keraslip` command, which has to answer `--help`, all of it is.
"""

from pkgutil import iter_modules as _iter_modules
from typing import TYPE_CHECKING

from keraslip import console_backend as _console_backend
from keraslip.lazy import attach as _attach
from keraslip.version import __version__ as __version__

if TYPE_CHECKING:
    from keraslip import applications as applications
    from keraslip import attacks as attacks
    from keraslip import bounds as bounds
    from keraslip import callbacks as callbacks
    from keraslip import certify as certify
    from keraslip import cli as cli
    from keraslip import datasets as datasets
    from keraslip import distribution as distribution
    from keraslip import layers as layers
    from keraslip import linear as linear
    from keraslip import losses as losses
    from keraslip import plots as plots
    from keraslip import rules as rules
    from keraslip import schedules as schedules
    from keraslip import testing as testing
    from keraslip import tuning as tuning
    from keraslip.applications import list_applications as list_applications
    from keraslip.certify.execution.violation import CertificateViolation as CertificateViolation
    from keraslip.certify.result.certificates import Certificates as Certificates
    from keraslip.convert import from_keras as from_keras
    from keraslip.models.check import check_model as check_model
    from keraslip.models.float32_copy import float32_copy as float32_copy
    from keraslip.models.local_lipschitz_model import LocalLipschitzModel as LocalLipschitzModel
    from keraslip.rules.registry import register_rule as register_rule
else:
    _MODULES = [module.name for module in _iter_modules(__path__) if module.ispkg]
    __getattr__, __dir__ = _attach(
        __name__,
        {
            **{name: f"keraslip.{name}" for name in _MODULES},
            "CertificateViolation": "keraslip.certify.execution.violation",
            "Certificates": "keraslip.certify.result.certificates",
            "LocalLipschitzModel": "keraslip.models",
            "from_keras": "keraslip.convert",
            "check_model": "keraslip.models.check",
            "float32_copy": "keraslip.models.float32_copy",
            "list_applications": "keraslip.applications",
            "register_rule": "keraslip.rules",
        },
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
    "from_keras",
    "layers",
    "list_applications",
    "losses",
    "plots",
    "register_rule",
    "rules",
    "schedules",
]

_console_backend.choose()
if not _console_backend.is_command():
    from keraslip import registered as _registered  # noqa: F401
