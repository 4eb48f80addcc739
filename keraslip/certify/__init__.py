"""Certificates: what is proved of a trained network around each input.

Names are imported when they are first used: the independent checker beside them needs NumPy alone.
"""

from typing import TYPE_CHECKING

from keraslip.lazy import attach as _attach

if TYPE_CHECKING:
    from keraslip.certify.execution.violation import CertificateViolation as CertificateViolation
    from keraslip.certify.operators import register_operator as register_operator
    from keraslip.certify.result.certificates import Certificates as Certificates
else:
    __getattr__, __dir__ = _attach(
        __name__,
        {
            "CertificateViolation": "keraslip.certify.execution.violation",
            "Certificates": "keraslip.certify.result.certificates",
            "register_operator": "keraslip.certify.operators",
        },
    )

__all__ = ["CertificateViolation", "Certificates", "register_operator"]
