"""A tiny run that one device and several must end alike, and what it ended with."""

from typing import Any

import keras
import numpy as np

import keraslip

FEATURES, CLASSES, EPSILON = 6, 3, 0.05
BATCH, EPOCHS = 8, 2
TOLERANCE = 1e-4


def data(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs in [0, 1] whose class is the largest of their first numbers."""
    x = np.random.default_rng(0).uniform(size=(samples, FEATURES)).astype("float32")
    return x, x[:, :CLASSES].argmax(axis=1).astype("int32")


def batches(samples: int, **kwargs: Any) -> Any:
    """The samples in an order that depends on the epoch alone."""
    return keraslip.datasets.ShuffledBatches(*data(samples), batch_size=BATCH, seed=3, **kwargs)


def build(power_iterations: int = 30) -> Any:
    """A compiled network of two dense layers with learned thresholds.

    Args:
        power_iterations: Many, so that the norm of a sample does not depend on those that share its device.
    """
    keras.utils.set_random_seed(1)
    inputs = keras.Input((FEATURES,))
    x = keraslip.layers.MaskedLipschitzDense(8)(inputs)
    x = keraslip.layers.ClippedReLU(threshold=0.5)(x)
    outputs = keraslip.layers.MaskedLipschitzDense(CLASSES)(x)
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    # Without XLA on TensorFlow, which takes longer than the run.
    fast = {"jit_compile": False} if keras.backend.backend() == "tensorflow" else {}
    model.compile(
        keras.optimizers.Adam(0.05),
        epsilon=EPSILON,
        sparsity=0.01,
        power_iterations=power_iterations,
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="weighted")],
        **fast,
    )
    return model


class Places(keras.callbacks.Callback):
    """Notes the step of the run, which goes back to 0 at its end."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.steps: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps.append(self.model.run_state.place()[0])


def fit(model: Any, train: Any, held_out: Any = None, **kwargs: Any) -> dict[str, Any]:
    """Trains, and returns all that must not depend on the devices."""
    places = Places()
    history = model.fit(
        train,
        epochs=EPOCHS,
        validation_data=held_out,
        shuffle=False,
        verbose=0,
        callbacks=[places],
        **kwargs,
    ).history
    # Several processes do not look for the gap.
    history.pop("lipschitz_gap", None)
    logs = {f"log {name}": np.array(values) for name, values in history.items()}
    return {**logs, "steps": np.array(places.steps), **state(model)}


def state(model: Any) -> dict[str, Any]:
    """Weights of a model, but for the warm starts, which depend on who shares a device."""
    weights = {f"weight {i}": convert(w) for i, w in enumerate(model.trainable_weights)}
    return {**weights, "epsilon": convert(model.run_state.epsilon)}


def certify(model: Any, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Certificates, estimates, Lipschitz bounds and what `evaluate` says."""
    found = model.certify(x, y, workers=1, verbose=0)
    estimate = model.estimate(x, y)
    return {
        "certified": found.certified.astype("float64"),
        "margin": found.margin,
        "estimated margin": estimate.margin,
        "evaluated": np.array(model.evaluate(x, y, batch_size=BATCH, verbose=0)),
    }


def convert(x: Any) -> np.ndarray:
    """A variable as a NumPy array."""
    return np.array(keras.ops.convert_to_numpy(x), "float64")


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Two runs ended alike."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=TOLERANCE, err_msg=name)


def assert_trained(found: dict[str, Any], steps: int) -> None:
    """The run did something that could have differed."""
    np.testing.assert_array_equal(found["steps"], np.arange(1, steps + 1))
    assert found["log loss"][-1] < found["log loss"][0]
    assert 0.0 < found["log val_certified_accuracy"][-1]
