"""Linear maps in float64 NumPy and what a proof adds to them, apart from every backend."""

from keraslip.certify.operators.algebra import add as add
from keraslip.certify.operators.algebra import compose as compose
from keraslip.certify.operators.algebra import simplified as simplified
from keraslip.certify.operators.algebra import stack as stack
from keraslip.certify.operators.differences import WRITTEN as WRITTEN
from keraslip.certify.operators.differences import Differences as Differences
from keraslip.certify.operators.proved import Proved as Proved
from keraslip.certify.operators.proved import prove as prove
from keraslip.certify.operators.proved import register_operator as register_operator
from keraslip.certify.operators.upwards import NUMPY as NUMPY
from keraslip.certify.operators.upwards import Upwards as Upwards
