"""The network of the paper for TinyImageNet."""

from keraslip.applications._builder import network
from keraslip.applications._spec import Conv, Net

_TINY8C2F_MAXMIN = (0.8, 1.0, 1.4, 1.4, 1.4, 1.6, 2.0, 3.0, 1.6)


@network
def TinyImageNet8C2F() -> Net:
    """Eight convolutions and two dense layers for TinyImageNet: 4,342,984 kernels and biases.

    The feature maps are 64, 64, 31, 31, 31, 14, 14 and 6 pixels wide.

    Example:

    ```python
    model = keraslip.applications.TinyImageNet8C2F()
    model.compile("adam", epsilon=36 / 255, sparsity=0.01)
    ```
    """
    return Net(
        name="tiny_imagenet_8c2f",
        input_shape=(64, 64, 3),
        convs=(
            Conv(64, 3),
            Conv(64, 3),
            Conv(64, 4, 2, pad=0),
            Conv(128, 3),
            Conv(128, 3),
            Conv(128, 4, 2, pad=0),
            Conv(256, 3),
            Conv(256, 4, 2, pad=0),
        ),
        hidden=(256,),
        classes=200,
        upper=_TINY8C2F_MAXMIN,
        lower=tuple(-value for value in _TINY8C2F_MAXMIN),
    )
