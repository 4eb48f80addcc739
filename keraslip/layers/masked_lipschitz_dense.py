"""Dense layer with a per-sample masked norm."""

import keras

from keraslip.layers.masked import MaskedNorm
from keraslip.rules.linear import DenseRule
from keraslip.rules.registry import register_rule


@keras.saving.register_keras_serializable(package="keraslip")
class MaskedLipschitzDense(MaskedNorm, keras.layers.Dense):
    """A `Dense` layer whose norm is taken over the units that can vary in the ball.

    The layer computes what `keras.layers.Dense` computes and takes the same arguments. Inside a
    `keraslip.LocalLipschitzModel` its norm is `||diag(out) W diag(in)||_2` for every sample, with the
    rows and columns of constant units left out.

    Args:
        units: Positive integer, size of the output.
        **kwargs: All other arguments of `keras.layers.Dense`. `activation` may be `None`
            or a function with a rule, such as `"relu"`, in a bounded model.

    Input shape:
        `(batch, ..., features)`.

    Output shape:
        `(batch, ..., units)`.

    Example:

    ```python
    inputs = keras.Input((64,))
    x = keraslip.layers.MaskedLipschitzDense(32)(inputs)
    x = keraslip.layers.ClippedReLU()(x)
    outputs = keraslip.layers.MaskedLipschitzDense(10)(x)
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    ```

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4.
    """


register_rule(MaskedLipschitzDense)(DenseRule)
