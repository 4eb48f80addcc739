"""Five SGD steps from the same weights and data give the same numbers on every backend."""

import numpy as np
import pytest

from tests.parity.nets import REFERENCE, RUNS, SAMPLES, STEPS, take_steps


@pytest.fixture(scope="module", params=RUNS)
def steps(request):
    """What this backend found, and the reference."""
    name, (net, _, _) = request.param, RUNS[request.param]
    with np.load(REFERENCE) as stored:
        prefix = f"{name}/"
        expected = {k.removeprefix(prefix): stored[k] for k in stored if k.startswith(prefix)}
        start = [stored[k] for k in sorted(stored) if k.startswith(f"start/{net}/")]
        return take_steps(name, start, stored["order"]), expected


def test_losses_agree(steps):
    found, expected = steps
    assert len(expected["losses"]) == STEPS
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-4, atol=1e-4)


def test_weights_agree(steps):
    found, expected = steps
    names = sorted(key for key in expected if key.startswith("weight"))
    assert names == sorted(key for key in found if key.startswith("weight"))
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-4, err_msg=name)


def test_predictions_and_certificates_agree(steps):
    found, expected = steps
    for key in ("correct", "certified"):
        assert found[key].shape == (SAMPLES,)
        assert (found[key] != expected[key]).sum() <= 1, key
        # Neither none nor all: a comparison of constants would show nothing.
        assert 0.02 < expected[key].mean() < 0.99


def test_the_reference_is_small():
    assert REFERENCE.stat().st_size < 300_000
