"""Certificates: what is proved of a trained network around each input.

Names are imported when they are first used: the independent checker beside them needs NumPy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keraslip.certify.certificates import Certificates as Certificates
    from keraslip.certify.operators import register_operator as register_operator
    from keraslip.certify.violation import CertificateViolation as CertificateViolation

_HOMES = {
    "Certificates": "certificates",
    "CertificateViolation": "violation",
    "register_operator": "operators",
}

__all__ = ["CertificateViolation", "Certificates", "register_operator"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
