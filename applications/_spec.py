"""A network written down as data: what the builder needs and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

Threshold = float | Sequence[float] | None


@dataclass(frozen=True)
class Conv:
    """A convolution followed by an activation.

    `pad=1` pads one row or column on each side, `pad=0` none. For kernel 4 and stride 2 this is
    not what Keras calls "same" in every size, so it is spelled out. `residual` adds the input,
    before the activation: both together are one linear map.
    """

    filters: int
    kernel: int
    stride: int = 1
    pad: int = 1
    residual: bool = False


@dataclass(frozen=True)
class Net:
    """A chain of convolutions, a flattening, hidden dense layers and the logits.

    Args:
        name: Name of the model, and its key in the registry.
        input_shape: (height, width, channels).
        convs: The convolutions in order; each is followed by an activation.
        hidden: Units of the dense layers before the logits; each is followed by an activation.
        classes: Number of logits.
        threshold: Initial threshold of `ClippedReLU`, one number or one per activation.
        upper: Initial upper threshold of `ClippedMaxMin`, one number or one per activation.
        lower: Initial lower threshold of `ClippedMaxMin`, one number or one per activation.
        center: Taken from every pixel first.
        activation: The one that is usual.
    """

    name: str
    input_shape: tuple[int, int, int]
    convs: tuple[Conv, ...]
    hidden: tuple[int, ...]
    classes: int
    threshold: float | tuple[float, ...] = 1.0
    upper: float | tuple[float, ...] = 1.0
    lower: float | tuple[float, ...] = -1.0
    center: float = 0.0
    activation: str = "clipped_relu"

    @property
    def activations(self) -> int:
        """Number of activation layers."""
        return len(self.convs) + len(self.hidden)
