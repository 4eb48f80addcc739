"""Upper bounds of spectral norms, with every rounding of their own computation accounted for."""

from keraslip.certify.norms.convolution import conv_norm as conv_norm
from keraslip.certify.norms.convolution import is_pointwise as is_pointwise
from keraslip.certify.norms.dense import dense_norm as dense_norm
from keraslip.certify.norms.dense import gram_norm as gram_norm
from keraslip.certify.norms.geometry import conv_matrix as conv_matrix
from keraslip.certify.norms.probabilistic import probabilistic_norm as probabilistic_norm
from keraslip.certify.norms.sparse import sparse_norm as sparse_norm
