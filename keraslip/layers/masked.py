"""What the masked layers share: the norm of the layer restricted to the units that can vary."""

import zlib

import numpy as np
from keras import ops

from keraslip.bounds.spectral import masked_norm
from keraslip.linear import LinearMap
from keraslip.typing import Tensor


class MaskedNorm:
    """Mixin that gives a linear layer its per-sample masked norm."""

    def linear_map(self, in_shape: tuple[int, ...]) -> LinearMap:
        """The layer's linear map, bias and activation left out.

        Args:
            in_shape: Shape of one input, without the batch axis.
        """
        from keraslip.rules import rule_for

        return rule_for(self).linear_map(self, in_shape)  # type: ignore[attr-defined]

    def masked_norm(
        self,
        in_shape: tuple[int, ...],
        varying_in: Tensor | None = None,
        varying_out: Tensor | None = None,
        power_iterations: int = 50,
    ) -> Tensor:
        """`||diag(varying_out) W diag(varying_in)||_2` of every sample, approached from below.

        Args:
            in_shape: Shape of one input, without the batch axis.
            varying_in: Mask `(batch, *in_shape)` of the inputs that may vary, or `None` for all.
            varying_out: Mask `(batch, *out_shape)` of the outputs that may vary, or `None` for all.
            power_iterations: Number of power iterations from a fixed random start.

        Returns:
            Tensor `(batch,)`, or `(1,)` without masks.

        Example:

        >>> layer = keraslip.layers.MaskedLipschitzDense(2, kernel_initializer="ones")
        >>> layer.build((None, 2))
        >>> layer.masked_norm((2,))
        array([2.], dtype=float32)
        """
        linear_map = self.linear_map(in_shape)
        start = random_unit_vector("masked_norm", linear_map.out_shape)
        start = ops.convert_to_tensor(start)
        return masked_norm(linear_map, start, varying_in, varying_out, power_iterations)[0]


def random_unit_vector(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A unit vector `(1, *shape)` that depends on its name alone, the same on every backend."""
    vector = np.random.default_rng(zlib.crc32(name.encode())).standard_normal((1, *shape))
    return (vector / np.linalg.norm(vector)).astype("float32")
