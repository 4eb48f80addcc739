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

    Every convolution and every hidden layer is followed by an activation; initial thresholds are one number,
    or one per activation.
    """

    name: str  #: Name of the model, and its key in the registry.
    input_shape: tuple[int, int, int]  #: (height, width, channels).
    convs: tuple[Conv, ...]  #: The convolutions in order.
    hidden: tuple[int, ...]  #: Units of the dense layers before the logits.
    classes: int  #: Number of logits.
    threshold: float | tuple[float, ...] = 1.0  #: Of `ClippedReLU`.
    upper: float | tuple[float, ...] = 1.0  #: Upper threshold of `ClippedMaxMin`.
    lower: float | tuple[float, ...] = -1.0  #: Lower threshold of `ClippedMaxMin`.
    center: float = 0.0  #: Taken from every pixel first.
    activation: str = "clipped_relu"  #: The one that is usual.

    @property
    def activations(self) -> int:
        """Number of activation layers."""
        return len(self.convs) + len(self.hidden)
