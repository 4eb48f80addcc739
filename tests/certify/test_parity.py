"""Proved numbers are the same on every backend: they are float64 NumPy from the same weights."""

import numpy as np
import pytest

from tests.certify.make_reference import CERTIFIED, SAMPLES, proved_numbers, trained
from tests.parity.nets import EPSILON, NETS


@pytest.mark.parametrize("name", NETS)
def test_proved_numbers_agree(name):
    found = proved_numbers(trained(name))
    with np.load(CERTIFIED) as stored:
        expected = {k.removeprefix(f"{name}/"): stored[k] for k in stored if k.startswith(name)}
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        # Sums of float64 differ in their last digits from one machine to the next.
        np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-12, err_msg=key)
    # Neither none nor all are certified: a comparison of constants would show nothing.
    assert 0.1 < np.mean(expected["certified"]) < 0.95 and len(expected["radius"]) == SAMPLES
    assert (expected["radius"] >= EPSILON).any() and (expected["radius"] < EPSILON).any()


def test_the_reference_is_small():
    assert CERTIFIED.stat().st_size < 30_000
