"""What each network is trained with unless the command line says otherwise."""

from dataclasses import dataclass
from typing import Any

from keraslip.models.options import POWER_ITERATIONS


@dataclass(frozen=True)
class Recipe:
    """Defaults of a training run.

    Args:
        dataset: Data set the network is made for.
        epsilon: L2 radius in [0, 1] pixel units.
        epochs: Length of the run; the paper trains MNIST for 300, CIFAR-10 for 800 epochs.
        batch_size: Samples in a step.
        learning_rate: Constant for half the run, then falling to `final_learning_rate`.
        final_learning_rate: As a share of `learning_rate`.
        loss: `"bcp"`, `"gloro"` or `"trades"`.
        local: Which norms leave constant units out, as for `compile`.
        power_iterations: Iterations for each norm in a step.
        augment: `"crop_flip"` or `None`.
        sparsity: Weight of the sparsity loss.
        train_epsilon_factor: Epsilon at the end of training, as a multiple of `epsilon`.

    Reference:

    - Huang et al., 2021, arXiv 2111.01395, appendix (losses, radii, learning rates).
    """

    dataset: str
    epsilon: float
    epochs: int
    batch_size: int = 256
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.02
    loss: str = "bcp"
    local: Any = "auto"
    power_iterations: int = POWER_ITERATIONS
    augment: str | None = None
    sparsity: float = 0.0
    train_epsilon_factor: float = 1.1


RECIPES = {
    "digits_2c2f": Recipe(
        "digits",
        0.25,
        75,
        batch_size=64,
        learning_rate=3e-3,
        train_epsilon_factor=1.2,
    ),
    "mnist_4c3f": Recipe("mnist", 1.58, 20, loss="gloro"),
    "cifar_4c3f": Recipe("cifar10", 36 / 255, 200, augment="crop_flip"),
    "cifar_6c2f": Recipe("cifar10", 36 / 255, 200, augment="crop_flip"),
    "tiny_imagenet_8c2f": Recipe(
        "tiny_imagenet",
        36 / 255,
        250,
        batch_size=128,
        learning_rate=2.5e-4,
        augment="crop_flip",
        sparsity=0.01,
        train_epsilon_factor=1.133,
    ),
}
