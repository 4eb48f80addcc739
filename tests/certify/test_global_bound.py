"""Margins by the global bound are those of the product of the layers' norms, whatever the ball holds."""

import numpy as np
import pytest

from keraslip.certify.run.global_bound import global_margins
from tests.models.nets import FEATURES, SAMPLES, dense_net

pytestmark = pytest.mark.any_backend("float64 arithmetic; certificates run on every backend")


def test_margins_are_those_of_norms_without_masks():
    model, rng = dense_net(), np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, FEATURES)).astype("float32")
    logits = np.asarray(model.predict(x, verbose=0), "float64")
    y = logits.argmax(axis=1)
    first, last = (np.asarray(model.get_layer(name).kernel) for name in ("first", "logits"))
    apart = np.linalg.norm(last[:, y, None] - last[:, None], axis=0)
    gain = np.linalg.norm(first, 2) * apart
    gap = logits[np.arange(SAMPLES), y, None] - logits
    gap[np.arange(SAMPLES), y] = np.inf
    epsilons = [0.0, 0.1, 2.0]
    margins, lipschitz = global_margins(model, x, y, epsilons)
    for epsilon, found in zip(epsilons, margins, strict=True):
        # As certificates, from below: rounding is float32's.
        exact = (gap - epsilon * gain).min(axis=1)
        assert (found <= exact + 1e-6).all() and found == pytest.approx(exact, abs=1e-4)
        assert (found <= model.certify(x, y, epsilon, verbose=False).margin).all()
    norm = np.linalg.norm(first, 2) * np.linalg.norm(last, 2)
    assert lipschitz == pytest.approx(np.full(SAMPLES, norm), rel=1e-6)
    assert (lipschitz >= norm * (1 - 1e-12)).all()
