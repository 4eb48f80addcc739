"""A small network for scikit-learn's handwritten digits."""

from os import PathLike

from keraslip.applications._builder import build, documented
from keraslip.applications._spec import Conv, Net, Threshold
from keraslip.models import LocalLipschitzModel

_DIGITS2C2F = Net(
    name="digits_2c2f",
    input_shape=(8, 8, 1),
    convs=(Conv(16, 3), Conv(32, 4, 2)),
    hidden=(64,),
    classes=10,
)


@documented(_DIGITS2C2F)
def Digits2C2F(
    activation: str | None = None,
    threshold: Threshold = None,
    upper_threshold: Threshold = None,
    lower_threshold: Threshold = None,
    width: float | None = None,
    weights: str | PathLike[str] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 10,
    name: str = "digits_2c2f",
) -> LocalLipschitzModel:
    """Two convolutions and two dense layers for 8 by 8 digits; the paper has no such network.

    With twice the width it is the network of `keraslip demo`, which trains in one to two minutes on
    two cores.

    Example:

    ```python
    model = keraslip.applications.Digits2C2F()
    model.compile("adam", epsilon=0.25)
    ```
    """
    thresholds = threshold, upper_threshold, lower_threshold
    return build(_DIGITS2C2F, activation, thresholds, width, weights, input_shape, classes, name)
