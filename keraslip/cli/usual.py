"""What each network is trained with unless the command line says otherwise.

Reference:

- Huang et al., 2021, arXiv 2111.01395, appendix (radii, learning rates; MNIST for 300, CIFAR-10 for 800
  epochs). Loss and norms are those of `compile`, which did better than the paper's here: docs/results.md.
"""

from typing import Any

#: What differs from the defaults of `Settings`, by the name of the network.
USUAL: dict[str, dict[str, Any]] = {
    "digits_2c2f": {
        **{"dataset": "digits", "epsilon": 0.25, "epochs": 75, "batch_size": 64},
        **{"learning_rate": 3e-3, "train_epsilon_factor": 1.2},
    },
    "mnist_4c3f": {"dataset": "mnist", "epsilon": 1.58, "epochs": 20},
    "cifar_4c3f": {
        **{"dataset": "cifar10", "epsilon": 36 / 255, "epochs": 200, "augment": "crop_flip"}
    },
    "cifar_6c2f": {
        **{"dataset": "cifar10", "epsilon": 36 / 255, "epochs": 200, "augment": "crop_flip"}
    },
    "cifar_liresnet": {
        **{"dataset": "cifar10", "epsilon": 36 / 255, "epochs": 200, "augment": "crop_flip"},
        **{"activation": "maxmin", "loss": "emma", "train_epsilon_factor": 1.5},
    },
    "tiny_imagenet_8c2f": {
        **{"dataset": "tiny_imagenet", "epsilon": 36 / 255, "epochs": 250, "batch_size": 128},
        **{"learning_rate": 2.5e-4, "augment": "crop_flip", "train_epsilon_factor": 1.133},
    },
}

#: Whole runs by name, `keraslip train --recipe NAME`: what differs from the defaults of `Settings`.
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {
        **{"application": "digits_2c2f", "dataset": "digits", "epsilon": 0.25, "epochs": 150},
        **{"batch_size": 64, "width": 2.0, "activation": "clipped_maxmin", "loss": "emma"},
        **{"bound": "global", "optimizer": "nadam", "clip_norm": 3.0, "start": "orthogonal"},
        **{"learning_rate": 3e-3, "train_epsilon_factor": 2.0},
    },
    "mnist": {
        **{"application": "mnist_4c3f", "dataset": "mnist", "epsilon": 1.58, "epochs": 300},
        **{"activation": "clipped_maxmin", "width": 0.5, "loss": "gloro", "bound": "global"},
        **{"optimizer": "nadam", "clip_norm": 3.0, "start": "orthogonal"},
        **{"train_epsilon_factor": 1.0},
    },
    "cifar10": {
        **{"application": "cifar_6c2f", "dataset": "cifar10", "epsilon": 36 / 255, "epochs": 200},
        **{"activation": "maxmin", "loss": "emma", "bound": "global", "augment": "crop2_flip"},
        **{"optimizer": "nadam", "clip_norm": 3.0, "start": "orthogonal", "batch_size": 128},
        **{"learning_rate": 3e-3, "decay_start": 0.0, "train_epsilon_factor": 1.5},
    },
    "cifar10_liresnet": {
        **{"application": "cifar_liresnet", **USUAL["cifar_liresnet"], "bound": "global"},
        **{"optimizer": "nadam", "clip_norm": 3.0},
    },
    "tiny_imagenet": {
        **{"application": "tiny_imagenet_8c2f", "dataset": "tiny_imagenet", "epsilon": 36 / 255},
        **{"epochs": 100, "batch_size": 128, "augment": "crop_flip", "width": 0.5},
        **{"activation": "clipped_maxmin", "loss": "gloro", "bound": "global"},
        **{"optimizer": "nadam", "clip_norm": 3.0, "start": "orthogonal"},
    },
}

#: Training images of each data set, those that `keraslip.datasets.load` holds out left out.
TRAINING = {"digits": 1293, "mnist": 55_000, "cifar10": 45_000, "tiny_imagenet": 9_000}

#: CPU seconds of a step, the mean of 30 (of cifar10 12, of tiny_imagenet 8), TensorFlow with one thread of an
#: x86-64 core with AVX-512: benchmarks/recipe_time.py.
STEP_SECONDS = {
    **{"digits": 0.0178, "mnist": 0.181, "cifar10": 0.397, "cifar10_liresnet": 0.785},
    **{"tiny_imagenet": 2.65},
}

#: How a network of one's own is written.
OWN_MODEL = "FILE.py:FUNCTION"


def is_own(name: str) -> bool:
    """Whether a name is one of a network of one's own, `FILE.py:FUNCTION`."""
    return bool(own_file(name))


def own_file(name: str) -> str:
    """The file of `FILE.py:FUNCTION`; empty for any other name."""
    # At the last colon: a path of Windows has one behind its drive.
    file = name if name.endswith(".py") else name.rpartition(":")[0]
    return file if file.endswith(".py") else ""


def named_again(name: str, option: str = "--model") -> list[str]:
    """What a command about a run needs beside its folder: the file of a network of one's own, or nothing."""
    if not is_own(name):
        return []
    return [option, name if option == "--model" else own_file(name)]


def usual_of_own(given: dict[str, Any]) -> dict[str, Any]:
    """What a network of one's own is trained with unless the command line says otherwise."""
    chosen: dict[str, Any] = {name: given[name] for name in ("dataset", "epsilon") if name in given}
    # Small data have few batches. Of 900 images of three classes, 20 epochs, 55 % certified (estimate, 100
    # validation images) and 70 % correct; 46 and 62 % with 256 images in a batch, 1e-3, constant at first.
    rate = {"batch_size": 64, "learning_rate": 3e-3, "decay_start": 0.0}
    return {**chosen, "epochs": 50, **rate}
