"""A small network for scikit-learn's handwritten digits."""

from keraslip.applications._builder import network
from keraslip.applications._spec import Conv, Net


@network
def Digits2C2F() -> Net:
    """Two convolutions and two dense layers for 8 by 8 digits; the paper has no such network.

    With twice the width it is the network of `keraslip demo`, which trains in one to two minutes on
    two cores.

    Example:

    ```python
    model = keraslip.applications.Digits2C2F()
    model.compile("adam", epsilon=0.25)
    ```
    """
    return Net(
        name="digits_2c2f",
        input_shape=(8, 8, 1),
        convs=(Conv(16, 3), Conv(32, 4, 2)),
        hidden=(64,),
        classes=10,
    )
