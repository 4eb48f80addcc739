"""Names of types that stand in many signatures."""

from typing import Any, TypeAlias

import numpy as np

#: A tensor of the backend's, or of whichever arithmetic a formula is computed in.
Tensor: TypeAlias = Any
#: A NumPy array; in proofs of float64.
Array: TypeAlias = np.ndarray
#: Sizes of a tensor, without the batch axis unless it says otherwise.
Shape: TypeAlias = tuple[int, ...]
