"""The network of the paper for MNIST."""

from keraslip.applications._builder import network
from keraslip.applications._spec import Conv, Net


@network
def MNIST4C3F() -> Net:
    """Four convolutions and three dense layers for MNIST: 1,974,762 kernels and biases.

    The feature maps are 28, 14, 14 and 7 pixels wide.

    Example:

    ```python
    model = keraslip.applications.MNIST4C3F(activation="maxmin")
    model.compile("adam", epsilon=1.58)
    ```
    """
    return Net(
        name="mnist_4c3f",
        input_shape=(28, 28, 1),
        convs=(Conv(32, 3), Conv(32, 4, 2), Conv(64, 3), Conv(64, 4, 2)),
        hidden=(512, 512),
        classes=10,
    )
