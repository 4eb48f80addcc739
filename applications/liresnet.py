"""The residual network whose blocks are linear maps."""

from functools import partial

from keraslip.applications._builder import network
from keraslip.applications._spec import Conv, Net

_DEPTH = """
        depth: Number of blocks, at least 1."""
_PAPER = """Hu, Zou, Wang, Leino, Fredrikson, "Unlocking Deterministic Robustness Certification on
      ImageNet", NeurIPS 2023, arXiv 2301.12549, section 4: the blocks."""


@partial(network, further=_DEPTH, reference=_PAPER)
def CIFARLiResNet(depth: int = 4) -> Net:
    """A stem, `depth` blocks `x + conv(x)`, a neck and two dense layers for CIFAR-10.

    A block is one linear map, whose norm is bounded as a whole; other residual networks pay the
    sum of the norms of both branches. Pixels are centred inside the network. With width 1 and depth
    4 it has 0.8 million parameters, which suits a CPU; the paper's have width 4 to 8 and depth 12 to
    18.

    Example:

    ```python
    model = keraslip.applications.CIFARLiResNet(depth=2)
    model.compile("adam", epsilon=36 / 255, loss="emma")
    ```
    """
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise ValueError(f"`depth` must be an integer >= 1. Received: depth={depth!r}")
    return Net(
        name="cifar_liresnet",
        input_shape=(32, 32, 3),
        convs=(
            Conv(64, 5, stride=2, pad=2),
            *(Conv(64, 3, residual=True) for _ in range(depth)),
            Conv(128, 4, stride=4, pad=0),
        ),
        hidden=(256,),
        classes=10,
        center=0.5,
        activation="maxmin",
    )
