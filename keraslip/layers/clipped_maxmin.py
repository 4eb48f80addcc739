"""MaxMin clipped at learned thresholds."""

from typing import Any

import keras

from keraslip import activations
from keraslip.layers.clipped_relu import finite_number, threshold_weight
from keraslip.layers.maxmin import MaxMin
from keraslip.rules.bases import ActivationRule
from keraslip.rules.linear import full_precision
from keraslip.rules.registry import register_rule
from keraslip.typing import Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class ClippedMaxMin(MaxMin):
    """`(min(max(p, q), M), max(min(p, q), m))` of the halves p, q of the channels, M and m learned.

    An output is constant in the ball where the maximum stays above M, or the minimum below m.

    Args:
        upper: Initial M, for every pair.
        lower: Initial m, for every pair.
        data_format: `"channels_last"` or `"channels_first"`, for image inputs; Keras' default if `None`.
        axis: The axis that is halved, not that of the batch; that of the channels if `None`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, features)` or an image batch; every size but the batch's known, an even number of channels.

    Output shape:
        The input's.

    Raises:
        ValueError: if a threshold is not a finite number, or the number of channels is odd.

    Example:

    >>> layer = keraslip.layers.ClippedMaxMin(upper=2.5, lower=1.5)
    >>> layer(keras.ops.array([[1.0, 5.0, 2.0, 3.0]]))
    array([[2. , 2.5, 1.5, 3. ]], dtype=float32)

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, section 4.2 and appendix.
    """

    def __init__(
        self,
        upper: float = 0.5,
        lower: float = -0.5,
        data_format: str | None = None,
        axis: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, axis=axis, **kwargs)
        self.upper = finite_number("upper", upper)
        self.lower = finite_number("lower", lower)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        axis = self.channel_axis(len(input_shape))
        half = tuple(s // 2 if i == axis and s else s for i, s in enumerate(input_shape))
        self.upper_threshold = threshold_weight(self, "upper_threshold", half, self.upper)
        self.lower_threshold = threshold_weight(self, "lower_threshold", half, self.lower)

    def call(self, inputs: Tensor) -> Tensor:
        clips = self.upper_threshold, self.lower_threshold
        return activations.MaxMin(*clips, self.split_axis).call(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "upper": self.upper, "lower": self.lower}


@register_rule(ClippedMaxMin)
class ClippedMaxMinRule(ActivationRule):
    """Constant where the maximum stays above M, or the minimum below m."""

    def kind(self, layer: Any) -> activations.MaxMin:
        upper, lower = full_precision(layer.upper_threshold), full_precision(layer.lower_threshold)
        return activations.MaxMin(upper, lower, layer.split_axis)
