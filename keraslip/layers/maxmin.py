"""MaxMin on channel halves."""

from typing import Any

import keras

from keraslip import activations
from keraslip.rules.bases import ActivationRule
from keraslip.rules.registry import register_rule
from keraslip.typing import Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class MaxMin(keras.layers.Layer):
    """`(max(p, q), min(p, q))` of the two halves p, q of the channels.

    The activation sorts pairs, so it keeps the L2 norm of gradients that ReLU loses.

    Args:
        data_format: `"channels_last"` or `"channels_first"`, for image inputs; Keras' default if `None`.
        axis: The axis that is halved, not that of the batch; that of the channels if `None`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, features)` or an image batch; an even number of channels, or of whatever `axis` says.

    Output shape:
        The input's.

    Raises:
        ValueError: if the number of channels is odd.

    Example:

    >>> keraslip.layers.MaxMin()(keras.ops.array([[1.0, 5.0, 2.0, 3.0]]))
    array([[2., 5., 1., 3.]], dtype=float32)

    Reference:

    - Anil, Lucas, Grosse, 2019, arXiv 1811.05381 (GroupSort, of which MaxMin is the pairwise case).
    """

    def __init__(
        self, data_format: str | None = None, axis: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.data_format = data_format or keras.config.image_data_format()
        if self.data_format not in ("channels_last", "channels_first"):
            raise ValueError(
                "data_format must be 'channels_last' or 'channels_first'. "
                f"Received: data_format={data_format!r}"
            )
        self.supports_masking = True

    def channel_axis(self, rank: int) -> int:
        """The axis that is halved, for inputs of a rank (batch included)."""
        if self.axis is not None:
            return self.axis % rank
        return 1 if self.data_format == "channels_first" and rank > 2 else rank - 1

    @property
    def split_axis(self) -> int:
        """The same axis for inputs of every rank: 1 is the last one of a batch of vectors."""
        if self.axis is not None:
            return self.axis
        return 1 if self.data_format == "channels_first" else -1

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = channels_of(self.split_axis, input_shape)
        if channels is None or channels % 2:
            raise ValueError(
                f"{type(self).__name__} pairs the two halves of the channels, so their number must be "
                f"even. Received: input_shape={input_shape}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        return activations.MaxMin(axis=self.split_axis).call(inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format, "axis": self.axis}


@register_rule(MaxMin)
class MaxMinRule(ActivationRule):
    """A pair is constant only if both its inputs are."""

    def kind(self, layer: Any) -> activations.MaxMin:
        return activations.MaxMin(axis=layer.split_axis)


def channels_of(axis: int, input_shape: tuple[int | None, ...]) -> int | None:
    """The size of an axis of an input's shape, or a ValueError if there is none beside that of the batch."""
    rank = len(input_shape)
    if not isinstance(axis, int) or not -rank < axis < rank or axis == 0:
        raise ValueError(
            f"axis must be an axis of the input, and not that of the batch. Received: axis={axis!r}, "
            f"input_shape={input_shape}"
        )
    return input_shape[axis]
