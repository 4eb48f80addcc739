"""The network of the paper for MNIST."""

from os import PathLike

from keraslip.applications._builder import build, documented
from keraslip.applications._spec import Conv, Net, Threshold
from keraslip.models import LocalLipschitzModel

_MNIST4C3F = Net(
    name="mnist_4c3f",
    input_shape=(28, 28, 1),
    convs=(Conv(32, 3), Conv(32, 4, 2), Conv(64, 3), Conv(64, 4, 2)),
    hidden=(512, 512),
    classes=10,
)


@documented(_MNIST4C3F)
def MNIST4C3F(
    activation: str | None = None,
    threshold: Threshold = None,
    upper_threshold: Threshold = None,
    lower_threshold: Threshold = None,
    width: float | None = None,
    weights: str | PathLike[str] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 10,
    name: str = "mnist_4c3f",
) -> LocalLipschitzModel:
    """Four convolutions and three dense layers for MNIST: 1,974,762 kernels and biases.

    The feature maps are 28, 14, 14 and 7 pixels wide.

    Example:

    ```python
    model = keraslip.applications.MNIST4C3F(activation="maxmin")
    model.compile("adam", epsilon=1.58)
    ```
    """
    thresholds = threshold, upper_threshold, lower_threshold
    return build(_MNIST4C3F, activation, thresholds, width, weights, input_shape, classes, name)
