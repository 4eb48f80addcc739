"""The networks and the five steps that every backend must take alike."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

import keraslip

REFERENCE = Path(__file__).parent / "reference.npz"
STEPS, BATCH, SAMPLES, EPSILON = 5, 32, 500, 0.15


def conv_relu() -> Any:
    """Two convolutions with clipped ReLU, on the digits."""
    inputs = keras.Input((8, 8, 1))
    x = keraslip.layers.MaskedLipschitzConv2D(4, 3, padding="same")(inputs)
    x = keraslip.layers.ClippedReLU(threshold=0.5)(x)
    x = keras.layers.ZeroPadding2D(1)(x)
    x = keraslip.layers.MaskedLipschitzConv2D(8, 4, strides=2)(x)
    x = keraslip.layers.ClippedReLU(threshold=0.5)(x)
    x = keraslip.layers.MaskedLipschitzDense(16)(keras.layers.Flatten()(x))
    x = keraslip.layers.ClippedReLU(threshold=0.5)(x)
    return keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(10)(x))


def conv_maxmin() -> Any:
    """A convolution and a dense layer with clipped MaxMin."""
    inputs = keras.Input((8, 8, 1))
    x = keraslip.layers.MaskedLipschitzConv2D(6, 3, strides=2, padding="same")(inputs)
    x = keraslip.layers.ClippedMaxMin(upper=0.4, lower=-0.4)(x)
    x = keraslip.layers.MaskedLipschitzDense(16)(keras.layers.Flatten()(x))
    x = keraslip.layers.ClippedMaxMin(upper=0.4, lower=-0.4)(x)
    return keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(10)(x))


NETS = {"relu": conv_relu, "maxmin": conv_maxmin}
#: Net, loss and bound of each run; between them every bound, every loss and the sparsity loss.
RUNS = {
    "relu-local": ("relu", lambda: keraslip.losses.BCPLoss(kappa=0.5), "local"),
    "relu-global": ("relu", keraslip.losses.GloRoLoss, "global"),
    "relu-paper": ("relu", keraslip.losses.TradesLoss, "paper"),
    "maxmin-local": ("maxmin", lambda: keraslip.losses.BCPLoss(kappa=0.5), "local"),
    "maxmin-paper": ("maxmin", keraslip.losses.GloRoLoss, "paper"),
}


def all_weights(model: Any) -> list[np.ndarray]:
    """Copies of all weights, warm starts included."""
    return [np.array(keras.ops.convert_to_numpy(w)) for w in model.weights]


def take_steps(name: str, start: list[np.ndarray], order: np.ndarray) -> dict[str, np.ndarray]:
    """Five SGD steps: losses, weights afterwards, and what the model then gets right.

    Args:
        name: One of `RUNS`.
        start: The weights before the first step.
        order: Training images of each step, `(STEPS, BATCH)`.
    """
    net, loss, bound = RUNS[name]
    model = NETS[net]()
    model.set_weights(start)
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        epsilon=EPSILON,
        loss=loss(),
        train_epsilon=EPSILON,
        bound=bound,
        sparsity=0.01,
        power_iterations=2,
    )
    data = keraslip.datasets.load("digits")
    losses = []
    for rows in order:
        model.reset_metrics()
        logs = model.train_on_batch(data.x_train[rows], data.y_train[rows], return_dict=True)
        losses.append(float(logs["loss"]))
    found = model.estimate(data.x_train[-SAMPLES:], data.y_train[-SAMPLES:], power_iterations=30)
    return {
        "losses": np.array(losses, "float32"),
        "correct": found.prediction == found.label,
        "certified": found.certified,
        **{f"weight{i}": weight for i, weight in enumerate(all_weights(model))},
    }
