"""Three arithmetics for one formula: training, proof, exported graph.

A linear map or an activation is data plus formulas (`Formula`), written once on the functions of an
`Arithmetic`, which have NumPy's names: `training` (`keras.ops`, gradients), `float64` (NumPy, for
certificates), and `keraslip.export.graph_arithmetic.Graph` (TensorFlow in float64, basic operations only).
"""

from keraslip.arithmetic import float64, training
from keraslip.arithmetic.arithmetic import Arithmetic
from keraslip.arithmetic.formula import Formula

__all__ = ["Arithmetic", "Formula", "float64", "training"]
