"""Dense layer that is 1-Lipschitz by a rescaling of its kernel."""

from typing import Any

import keras

from keraslip.layers.almost_orthogonal import AlmostOrthogonal, AlmostOrthogonalRule
from keraslip.layers.masked_lipschitz_dense import MaskedLipschitzDense
from keraslip.rules.linear import DenseRule
from keraslip.rules.registry import register_rule


@keras.saving.register_keras_serializable(package="keraslip")
class AOLDense(AlmostOrthogonal, MaskedLipschitzDense):
    """A `Dense` layer of norm at most 1, whatever its trained kernel is.

    Applied is `W diag(d)^-1/2` with `d_i = sum_j |W^T W|_ij`, in closed form and without iteration. It
    is the kernel itself where that is orthogonal. With fewer outputs than inputs the outputs are rescaled
    in place of the inputs, which is tighter, and cheaper.

    `kernel` is what is applied, `raw_kernel` what is trained. The applied one is stored: a training step
    computes it from the trained kernel as it is before the update, and evaluating, predicting, certifying and
    saving bring it up to date. Certificates prove the norm of the stored kernel, which is usually below 1.

    Args:
        units: Positive integer, size of the output.
        kernel_initializer: Of the trained kernel; orthogonal ones are applied as they are.
        **kwargs: All other arguments of `keras.layers.Dense`, but for LoRA's.

    Input shape:
        `(batch, ..., features)`.

    Output shape:
        `(batch, ..., units)`.

    Example:

    ```python
    inputs = keras.Input((64,))
    x = keraslip.layers.AOLDense(64)(inputs)
    x = keraslip.layers.MaxMin()(x)
    outputs = keraslip.layers.AOLDense(10)(x)
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    ```

    Reference:

    - Prach and Lampert, Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz Networks, ECCV 2022,
      arXiv 2208.03160, theorem 1.
    """

    def __init__(self, units: int, kernel_initializer: Any = "orthogonal", **kwargs: Any) -> None:
        super().__init__(units, kernel_initializer=kernel_initializer, **kwargs)


@register_rule(AOLDense)
class AOLDenseRule(AlmostOrthogonalRule, DenseRule):
    """A dense layer with the kernel that was rescaled to a norm of 1 at most."""
