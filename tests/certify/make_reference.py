"""Writes reference.npz: proved numbers of the networks of tests/parity, from their committed weights.

Run it by hand, on one backend, when the certifier is meant to give other numbers:

    KERAS_BACKEND=torch python -m tests.certify.make_reference
"""

import importlib.util
from pathlib import Path
from typing import Any

if importlib.util.find_spec("torch") is not None:
    import torch  # noqa: F401  imported after TensorFlow in one process it can crash

import keras
import numpy as np

import keraslip
from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.norm_sources import LocalNorms, proved
from keraslip.certify.norms.rounding import Execution
from keraslip.certify.run.radius import certified_radius
from tests.parity.nets import EPSILON, NETS, REFERENCE

CERTIFIED = Path(__file__).parent / "reference.npz"
SAMPLES = 24


def trained(name: str) -> Any:
    """A net of tests/parity with its committed weights."""
    model = NETS[name]()
    with np.load(REFERENCE) as stored:
        model.set_weights([stored[k] for k in sorted(stored) if k.startswith(f"start/{name}/")])
    return model


def proved_numbers(model: Any) -> dict[str, np.ndarray]:
    """Margins, Lipschitz bounds, rounding and radii with local norms of every layer."""
    data = keraslip.datasets.load("digits")
    x, label = data.x_train[-SAMPLES:], np.asarray(data.y_train[-SAMPLES:], "int64")
    network, local = Network(model), LocalNorms(True, proved)
    evaluate = Evaluator(network, Execution.of("float32"))
    got = evaluate(x, label, np.full(SAMPLES, EPSILON), local, backwards=True)

    def bound(epsilon: np.ndarray, rows: np.ndarray) -> Any:
        return evaluate(x[rows], label[rows], epsilon, local, backwards=True).margins

    radius = certified_radius(np.full(SAMPLES, EPSILON), bound, None)
    hard = evaluate(x, label, np.full(SAMPLES, EPSILON), local, hard=True)
    result = model.certify(x, label, epsilon=EPSILON, conv="local", radius=True, verbose=False)
    # An attack runs in the backend: whether it succeeds, and which stage is the last then, may differ.
    settled = np.where(result.certified, 1.0, np.nan)
    return {
        "certified": result.certified.astype("float64"),
        "certified margin": settled * result.margin,
        "certified lipschitz": settled * result.lipschitz,
        "certified radius": result.radius,
        "margin": np.where(np.isinf(got.margins.gap), 0.0, got.margins.each),
        "lipschitz": got.lipschitz,
        "local_lipschitz": hard.lipschitz,
        "logits": got.logits,
        "error": got.error,
        "radius": radius,
        "norms": np.array([operator.norm for _, operator in network.operators()]),
    }


def main() -> None:
    """Writes the numbers of both nets."""
    arrays = {"backend": np.array(keras.backend.backend())}
    for name in NETS:
        found = proved_numbers(trained(name))
        others = np.where(found["margin"] == 0.0, np.inf, found["margin"]).min(axis=1)
        print(name, np.mean(others > 0), found["radius"].round(3))
        arrays |= {f"{name}/{key}": value for key, value in found.items()}
    np.savez_compressed(CERTIFIED, **arrays)


if __name__ == "__main__":
    main()
