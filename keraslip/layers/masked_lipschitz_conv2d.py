"""Convolution with a per-sample masked norm."""

import keras

from keraslip.layers.masked import MaskedNorm
from keraslip.rules.linear import Conv2DRule
from keraslip.rules.registry import register_rule


@keras.saving.register_keras_serializable(package="keraslip")
class MaskedLipschitzConv2D(MaskedNorm, keras.layers.Conv2D):
    """A `Conv2D` layer whose norm is taken over the units that can vary in the ball.

    The layer computes what `keras.layers.Conv2D` computes and takes the same arguments: any kernel,
    strides, padding `"valid"` or `"same"`, dilation, groups and data format. The norm is that of the
    convolution itself on images of the layer's size, never of the reshaped kernel.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or pair.
        **kwargs: All other arguments of `keras.layers.Conv2D`. `activation` may be `None`
            or a function with a rule, such as `"relu"`, in a bounded model.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` if
        `data_format="channels_first"`.

    Output shape:
        As for `keras.layers.Conv2D`.

    Example:

    ```python
    inputs = keras.Input((28, 28, 1))
    x = keraslip.layers.MaskedLipschitzConv2D(32, 3, padding="same")(inputs)
    x = keraslip.layers.ClippedReLU(threshold=1.0)(x)
    ```

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4.
    """


register_rule(MaskedLipschitzConv2D)(Conv2DRule)
