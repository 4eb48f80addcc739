"""The long proof of the pudding: a million points and a long attack inside certified balls."""

import keras
import numpy as np
import pytest

from keraslip import applications, datasets
from keraslip.attacks import pgd_l2

EPSILON = 0.25
POINTS = 1_000_000


@pytest.fixture(scope="module")
def certified():
    """A trained digits network with its certificates of many images."""
    keras.utils.set_random_seed(0)
    data = datasets.load("digits")
    model = applications.get("digits_2c2f")()
    model.compile(keras.optimizers.Adam(3e-3), epsilon=EPSILON)
    model.fit(data.x_train, data.y_train, batch_size=64, epochs=20, verbose=0)
    # Certificates hold for training images as well; there are more of them.
    x = np.concatenate([data.x_test, data.x_val, data.x_train])
    certificates = model.certify(x, batch_size=128, verbose=False)
    chosen = np.flatnonzero(certificates.certified)[:1000]
    assert len(chosen) >= 900
    return model, x[chosen], certificates, chosen


@pytest.mark.slow
def test_a_million_points_contradict_nothing(certified):
    model, x, certificates, chosen = certified
    generator = np.random.default_rng(1)
    clean = model.predict(x, verbose=0, batch_size=500)
    each = -(-POINTS // len(x))
    for _ in range(each):
        d = generator.standard_normal(x.shape).astype("float32")
        length = np.linalg.norm(d.reshape(len(x), -1), axis=1)
        # On the sphere and inside, for the Lipschitz bound too.
        radius = EPSILON * generator.uniform(0.1, 1.0, len(x)) ** 0.2
        d *= (radius / length).reshape(-1, 1, 1, 1).astype("float32")
        logits = model.predict(x + d, verbose=0, batch_size=500)
        assert (logits.argmax(axis=1) == certificates.label[chosen]).all()
        moved = np.linalg.norm(logits - clean, axis=1)
        assert (moved <= certificates.lipschitz[chosen] * radius + 1e-4).all()


@pytest.mark.slow
def test_a_long_attack_contradicts_nothing(certified):
    model, x, certificates, chosen = certified
    label = certificates.label[chosen]
    points = pgd_l2(
        model, x, label, EPSILON, steps=200, restarts=2, input_range=None, verbose=False
    )
    logits = model.predict(points, verbose=0, batch_size=500)
    assert (logits.argmax(axis=1) == label).all()
    own = logits[np.arange(len(x)), label]
    logits[np.arange(len(x)), label] = -np.inf
    # No margin falls below the one that was proved; float32 leaves the last digits open.
    assert (own - logits.max(axis=1) >= certificates.margin[chosen] - 1e-4).all()
