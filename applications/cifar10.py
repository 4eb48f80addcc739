"""The networks of the paper for CIFAR-10."""

from keraslip.applications._builder import network
from keraslip.applications._spec import Conv, Net


@network
def CIFAR4C3F() -> Net:
    """Four convolutions and three dense layers for CIFAR-10: 2,466,858 kernels and biases.

    The feature maps are 32, 16, 16 and 8 pixels wide.

    Example:

    ```python
    model = keraslip.applications.CIFAR4C3F()
    model.compile("adam", epsilon=36 / 255)
    ```
    """
    return Net(
        name="cifar_4c3f",
        input_shape=(32, 32, 3),
        convs=(Conv(32, 3), Conv(32, 4, 2), Conv(64, 3), Conv(64, 4, 2)),
        hidden=(512, 512),
        classes=10,
    )


@network
def CIFAR6C2F() -> Net:
    """Six convolutions and two dense layers for CIFAR-10: 2,250,378 kernels and biases.

    The feature maps are 32, 32, 16, 16, 16 and 8 pixels wide.

    Example:

    ```python
    model = keraslip.applications.CIFAR6C2F(activation="clipped_maxmin")
    model.compile("adam", epsilon=36 / 255)
    ```
    """
    return Net(
        name="cifar_6c2f",
        input_shape=(32, 32, 3),
        convs=(Conv(32, 3), Conv(32, 3), Conv(32, 4, 2), Conv(64, 3), Conv(64, 3), Conv(64, 4, 2)),
        hidden=(512,),
        classes=10,
        threshold=2.0,
        upper=(0.1, 0.1, 0.15, 0.15, 0.2, 0.3, 1.2),
        lower=(-0.1, -0.15, -0.15, -0.15, -0.2, -0.3, -1.2),
    )
