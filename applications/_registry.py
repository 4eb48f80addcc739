"""Networks by name, for the command line."""

from collections.abc import Callable

from keraslip.applications.cifar10 import CIFAR4C3F, CIFAR6C2F
from keraslip.applications.digits import Digits2C2F
from keraslip.applications.liresnet import CIFARLiResNet
from keraslip.applications.mnist import MNIST4C3F
from keraslip.applications.tiny_imagenet import TinyImageNet8C2F
from keraslip.models import LocalLipschitzModel

_BUILDERS: dict[str, Callable[..., LocalLipschitzModel]] = {
    "cifar_4c3f": CIFAR4C3F,
    "cifar_6c2f": CIFAR6C2F,
    "cifar_liresnet": CIFARLiResNet,
    "digits_2c2f": Digits2C2F,
    "mnist_4c3f": MNIST4C3F,
    "tiny_imagenet_8c2f": TinyImageNet8C2F,
}


def list_applications() -> list[str]:
    """The names of all networks, sorted: what `keraslip.applications.get` knows.

    Example:

    ```python
    keraslip.list_applications()
    ```
    """
    return sorted(_BUILDERS)


names = list_applications


def get(name: str) -> Callable[..., LocalLipschitzModel]:
    """The builder of the network called `name`.

    Args:
        name: For example "mnist_4c3f"; `names()` lists all of them.

    Returns:
        The builder function.

    Raises:
        ValueError: If there is no network of that name.

    Example:

    ```python
    model = keraslip.applications.get("digits_2c2f")(activation="relu")
    ```
    """
    if name not in _BUILDERS:
        raise ValueError(f"`name` must be one of {', '.join(names())}. Received: name={name!r}")
    return _BUILDERS[name]
