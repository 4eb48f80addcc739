"""GroupSort on channels."""

from typing import Any

import keras

from keraslip import activations
from keraslip.layers.maxmin import channels_of
from keraslip.rules.bases import ActivationRule
from keraslip.rules.registry import register_rule
from keraslip.typing import Tensor


@keras.saving.register_keras_serializable(package="keraslip")
class GroupSort(keras.layers.Layer):
    """Every group of neighbouring channels, sorted in rising order.

    It keeps the L2 norm of gradients, as MaxMin does, which is the case of pairs. Groups of all channels sort
    them altogether.

    Args:
        group_size: How many neighbours make a group, at least 2.
        axis: The axis of the channels, not that of the batch.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, ...)`; `group_size` divides the number of channels.

    Output shape:
        The input's.

    Raises:
        ValueError: if the channels cannot be divided into such groups.

    Example:

    >>> keraslip.layers.GroupSort(3)(keras.ops.array([[2.0, 5.0, 1.0, 6.0, 3.0, 4.0]]))
    array([[1., 2., 5., 3., 4., 6.]], dtype=float32)

    Reference:

    - Anil, Lucas, Grosse, 2019, arXiv 1811.05381.
    """

    def __init__(self, group_size: int = 2, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(group_size, int) or group_size < 2:
            raise ValueError(f"group_size must be an integer >= 2. Received: {group_size!r}")
        self.group_size, self.axis = group_size, axis
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = channels_of(self.axis, input_shape)
        if channels is None or channels % self.group_size:
            raise ValueError(
                f"The number of channels must be a multiple of group_size={self.group_size}. "
                f"Received: input_shape={input_shape}, axis={self.axis}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        return activations.GroupSort(self.group_size, self.axis).call(inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "group_size": self.group_size, "axis": self.axis}


@register_rule(GroupSort)
class GroupSortRule(ActivationRule):
    """It mixes a group, and is 1-Lipschitz."""

    def kind(self, layer: Any) -> activations.GroupSort:
        return activations.GroupSort(layer.group_size, layer.axis)
