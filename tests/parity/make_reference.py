"""Writes reference.npz, what the parity test compares every backend with.

Run it by hand, on one backend, when the training step is meant to give other numbers:

    KERAS_BACKEND=jax python -m tests.parity.make_reference [--train]

The weights to start from are those that lie there, for which tests/certify has its numbers; `--train` makes
others.
"""

import importlib.util
import sys

if importlib.util.find_spec("torch") is not None:
    import torch  # noqa: F401  imported after TensorFlow in one process it can crash

import keras
import numpy as np

import keraslip
from tests.parity.nets import (
    BATCH,
    EPSILON,
    NETS,
    REFERENCE,
    RUNS,
    STEPS,
    all_weights,
    take_steps,
)


def train(name: str) -> list[np.ndarray]:
    """Weights of a net after a short training, from which certificates differ between samples."""
    rng = np.random.default_rng(7)
    model = NETS[name]()
    for weight in model.trainable_weights:
        if weight.name == "kernel":
            shape = tuple(weight.shape)
            weight.assign(rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1])))
    model.compile(keras.optimizers.Adam(5e-3), epsilon=EPSILON, bound="local")
    data = keraslip.datasets.load("digits")
    batches = keraslip.datasets.ShuffledBatches(data.x_train, data.y_train, 64, seed=7)
    model.fit(batches, epochs=20, shuffle=False, verbose=0)
    return all_weights(model)


def committed(name: str) -> list[np.ndarray]:
    """The weights that the net started from before."""
    with np.load(REFERENCE) as stored:
        return [stored[key] for key in sorted(stored) if key.startswith(f"start/{name}/")]


def main() -> None:
    """Trains the nets, takes the steps of every run and writes them down."""
    order = np.random.default_rng(11).permutation(1000)[: STEPS * BATCH].reshape(STEPS, BATCH)
    starts = {name: train(name) if "--train" in sys.argv else committed(name) for name in NETS}
    arrays = {"backend": np.array(keras.backend.backend()), "order": order.astype("int16")}
    for name, weights in starts.items():
        arrays |= {f"start/{name}/{i:03}": weight for i, weight in enumerate(weights)}
    for name, (net, _, _) in RUNS.items():
        found = take_steps(name, starts[net], order)
        print(name, found["losses"], found["correct"].mean(), found["certified"].mean())
        arrays |= {f"{name}/{key}": value for key, value in found.items()}
    np.savez_compressed(REFERENCE, **arrays)


if __name__ == "__main__":
    main()
