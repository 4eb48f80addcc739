"""Upper bounds of spectral norms, with every rounding of their own computation accounted for."""

from keraslip.certify.norms.convolution import conv_norm
from keraslip.certify.norms.dense import dense_norm, gram_norm
from keraslip.certify.norms.matrix import conv_matrix
from keraslip.certify.norms.probabilistic import probabilistic_norm
from keraslip.certify.norms.proof import prove_below
from keraslip.certify.norms.sparse import sparse_norm

__all__ = [
    "conv_matrix",
    "conv_norm",
    "dense_norm",
    "gram_norm",
    "probabilistic_norm",
    "prove_below",
    "sparse_norm",
]
