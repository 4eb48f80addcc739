"""Certified radii: never beyond the truth, and near to it where the truth is known."""

import keras
import numpy as np
import pytest

import keraslip
from keraslip.certify.bound.norm_sources import proved
from keraslip.certify.run import certifier


def model_of(kernels, biases, activation=None):
    """Dense layers with these weights."""
    inputs = x = keras.Input((kernels[0].shape[0],))
    for i, kernel in enumerate(kernels):
        layer = keraslip.layers.MaskedLipschitzDense(kernel.shape[1])
        x = layer(x)
        layer.set_weights([kernel, biases[i]])
        if i + 1 < len(kernels):
            x = activation()(x)
    model = keraslip.LocalLipschitzModel(inputs, x)
    model.compile("sgd", epsilon=0.1, input_range=None)
    return model


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 5.0])
def test_a_linear_net(epsilon):
    """The radius is the gap over the norm of the difference of two rows, whatever epsilon is."""
    rng = np.random.default_rng(0)
    kernel, bias = rng.standard_normal((6, 4)).astype("float32"), np.zeros(4, "float32")
    model = model_of([kernel], [bias])
    x = rng.uniform(size=(5, 6)).astype("float32")
    options = {"batch_size": 8, "verbose": False, "radius": True, "arithmetic": "float64"}
    found = model.certify(x, epsilon=epsilon, **options)
    exact, rows = kernel.astype("float64"), np.arange(5)
    logits = x.astype("float64") @ exact
    label = logits.argmax(axis=1)
    apart = np.linalg.norm(exact[:, label].T[:, :, None] - exact[None], axis=1)
    apart[rows, label] = 1.0
    gaps = logits[rows, label][:, None] - logits
    gaps[rows, label] = np.inf
    truth = (gaps / apart).min(axis=1)
    assert (found.radius <= truth).all()
    assert (found.radius >= 0.98 * truth).all()
    assert (found.certified == (truth > epsilon)).all()


@pytest.mark.parametrize("epsilon", [0.1, 10.0])
def test_a_bound_that_does_not_scale_gives_no_radius(epsilon):
    """Logits (min(relu(x), 1), 0.7) at 0.9: a clip bounds the change, but the label flips at 0.2."""
    kernels = [np.ones((1, 1), "float32"), np.array([[1.0, 0.0]], "float32")]
    biases = [np.zeros(1, "float32"), np.array([0.0, 0.7], "float32")]
    model = model_of(kernels, biases, lambda: keraslip.layers.ClippedReLU(1.0))
    x = np.array([[0.9]], "float32")
    found = model.certify(x, epsilon=epsilon, radius=True, batch_size=8, verbose=False)
    assert 0.19 < found.radius[0] <= 0.2 + 1e-6


def test_wrong_labels_have_no_radius():
    model = model_of([np.eye(2, dtype="float32")], [np.zeros(2, "float32")])
    x = np.array([[0.9, 0.1], [0.1, 0.9]], "float32")
    found = model.certify(x, np.array([1, 1]), radius=True, batch_size=8, verbose=False)
    assert found.radius[0] == 0.0 and found.radius[1] > 0.5
    np.testing.assert_allclose(found.curve([1, 1], [0.0, 0.5, 0.6]), [0.5, 0.5, 0.0])


def test_random_norms_of_the_search_have_their_share_of_delta(monkeypatch):
    """All local norms of a sample together may fail with probability delta at most."""
    shares, calls = [], []

    def counted(share, rng):
        shares.append(share)
        return lambda *given: calls.append(share) or proved(*given)

    monkeypatch.setattr(certifier, "probabilistic", counted)
    rng = np.random.default_rng(3)
    kernels = [
        rng.standard_normal(shape).astype("float32") for shape in ((6, 20), (20, 20), (20, 3))
    ]
    biases = [0.3 * rng.standard_normal(k.shape[1]).astype("float32") for k in kernels]
    model = model_of(kernels, biases, keras.layers.ReLU)
    x = rng.uniform(size=(1, 6)).astype("float32")
    options = {"guarantee": "probabilistic", "delta": 0.1, "radius": True, "verbose": False}
    found = model.certify(x, epsilon=0.02, **options)
    assert len(shares) == 1 and 30 < len(calls) and sum(calls) <= 0.1
    assert found.radius[0] > 0.0
