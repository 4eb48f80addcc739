"""Names of types that stand in many signatures."""

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

#: A tensor of the backend's, or of whichever arithmetic a formula is computed in.
Tensor: TypeAlias = Any
#: A NumPy array; in proofs of float64.
Array: TypeAlias = np.ndarray
#: Sizes of a tensor, without the batch axis unless it says otherwise.
Shape: TypeAlias = tuple[int, ...]
#: Where a file is.
FilePath: TypeAlias = str | os.PathLike[str]
#: A function of tensors that returns a list of tensors, and what a backend makes of it: one of NumPy arrays.
Function: TypeAlias = Callable[..., list[Any]]
Compiled: TypeAlias = Callable[..., list[np.ndarray]]
#: From inputs, and more, to a value for each sample and its gradient with respect to the input.
Gradient: TypeAlias = Callable[..., tuple[np.ndarray, np.ndarray]]
