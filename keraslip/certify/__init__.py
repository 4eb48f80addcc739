"""Certificates: what is proved of a trained network around each input."""

from keraslip.certify.certificates import Certificates as Certificates
from keraslip.certify.operators import register_operator as register_operator
from keraslip.certify.violation import CertificateViolation as CertificateViolation
