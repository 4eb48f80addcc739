"""Operators: linear maps in float64 NumPy with rigorous norms, apart from every backend."""

from keraslip.certify.operators.algebra import add as add
from keraslip.certify.operators.algebra import compose as compose
from keraslip.certify.operators.algebra import simplified as simplified
from keraslip.certify.operators.dense import as_float64 as as_float64
from keraslip.certify.operators.moving import MovingOperator as MovingOperator
from keraslip.certify.operators.operator import Operator as Operator
from keraslip.certify.operators.operator import operator_of as operator_of
from keraslip.certify.operators.operator import register_operator as register_operator
from keraslip.certify.operators.pooling import PoolOperator as PoolOperator
from keraslip.certify.operators.stored import StoredOperator as StoredOperator
