"""Prebuilt networks: the ones of the paper, and a small one for the embedded digits.

Reference:
    Huang, Zhang, Shi, Kolter, Anandkumar, "Training Certifiably Robust Neural Networks with
    Efficient Local Lipschitz Bounds", NeurIPS 2021, arXiv 2111.01395.
"""

# Under any other name Keras would register the same functions and classes twice.
if __name__ != "keraslip.applications":
    raise ImportError(f"Use `import keraslip.applications`. Received: name={__name__!r}")

from keraslip.applications._registry import get as get
from keraslip.applications._registry import list_applications as list_applications
from keraslip.applications._registry import names as names
from keraslip.applications._weights import card as card
from keraslip.applications.cifar10 import CIFAR4C3F as CIFAR4C3F
from keraslip.applications.cifar10 import CIFAR6C2F as CIFAR6C2F
from keraslip.applications.digits import Digits2C2F as Digits2C2F
from keraslip.applications.liresnet import CIFARLiResNet as CIFARLiResNet
from keraslip.applications.mnist import MNIST4C3F as MNIST4C3F
from keraslip.applications.tiny_imagenet import TinyImageNet8C2F as TinyImageNet8C2F

__all__ = [
    "CIFAR4C3F",
    "CIFAR6C2F",
    "CIFARLiResNet",
    "Digits2C2F",
    "MNIST4C3F",
    "TinyImageNet8C2F",
    "card",
    "get",
    "list_applications",
    "names",
]
