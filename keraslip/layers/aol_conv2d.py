"""Convolution that is 1-Lipschitz by a rescaling of its kernel."""

from typing import Any

import keras

from keraslip.layers.almost_orthogonal import AlmostOrthogonal, AlmostOrthogonalRule
from keraslip.layers.delta_orthogonal import DeltaOrthogonal
from keraslip.layers.masked_lipschitz_conv2d import MaskedLipschitzConv2D
from keraslip.rules.linear import Conv2DRule
from keraslip.rules.registry import register_rule


@keras.saving.register_keras_serializable(package="keraslip")
class AOLConv2D(AlmostOrthogonal, MaskedLipschitzConv2D):
    """A `Conv2D` layer of norm at most 1, whatever its trained kernel is.

    As `keraslip.layers.AOLDense`, with the kernel's correlation with itself for `W^T W`: a closed form, for
    images of any size, any padding, dilation, number of groups and strides. A strided convolution
    is rescaled as the one of stride 1 that it is on its cells.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or pair.
        kernel_initializer: Of the trained kernel; by default `keraslip.layers.DeltaOrthogonal`, which is
            applied as it is.
        **kwargs: All other arguments of `keras.layers.Conv2D`, but for LoRA's.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` if
        `data_format="channels_first"`.

    Output shape:
        As for `keras.layers.Conv2D`.

    Example:

    ```python
    inputs = keras.Input((28, 28, 1))
    x = keraslip.layers.AOLConv2D(32, 4, strides=2, padding="same")(inputs)
    x = keraslip.layers.MaxMin()(x)
    ```

    Reference:

    - Prach and Lampert, ECCV 2022, arXiv 2208.03160, section 4.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        *args: Any,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, *args, **kwargs)
        self.kernel_initializer = (
            DeltaOrthogonal(self.strides)
            if kernel_initializer is None
            else keras.initializers.get(kernel_initializer)
        )

    def _geometry(self) -> tuple[Any, ...]:
        return tuple(self.strides), self.groups


@register_rule(AOLConv2D)
class AOLConv2DRule(AlmostOrthogonalRule, Conv2DRule):
    """A convolution with the kernel that was rescaled to a norm of 1 at most."""
