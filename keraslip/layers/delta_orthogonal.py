"""Initial kernels of convolutions that lose nothing."""

from typing import Any

import keras
from keras import ops

from keraslip.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class DeltaOrthogonal(keras.initializers.Initializer):
    """A random orthogonal matrix in the middle of the kernel, and zeros around it.

    The convolution starts as an orthogonal map of channels, or of the pixels of a cell and their channels
    where it has strides: signals and gradients keep their size. With `"orthogonal"`, which treats a patch as
    a vector, an `AOLConv2D` of 3 x 3 taps passes on 0.18 of the size in each layer.

    Args:
        strides: Those of the convolution.
        seed: Of the matrix.

    Reference:

    - Xiao et al., 2018, arXiv 1806.05393, algorithm 1.
    """

    def __init__(self, strides: Shape = (1, 1), seed: int | None = None) -> None:
        self.strides, self.seed = tuple(strides), seed

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        """A kernel `(height, width, inputs, outputs)`."""
        cell = [min(pair) for pair in zip(shape[:2], self.strides, strict=True)]
        matrix = keras.initializers.Orthogonal(seed=self.seed)((*cell, *shape[2:]), dtype)
        room = [size - part for size, part in zip(shape[:2], cell, strict=True)]
        sides = [(some // 2, some - some // 2) for some in room]
        return ops.pad(matrix, (*sides, (0, 0), (0, 0)))

    def get_config(self) -> dict[str, Any]:
        return {"strides": self.strides, "seed": self.seed}
