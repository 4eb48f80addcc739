"""Rounding at the center of the ball: what executed logits are held against."""

import numpy as np
import pytest

from keraslip.certify.bound.center import center_error
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import Execution
from tests.certify.nets import FLOAT32, NETS, evaluated, forward, inputs, network, weights_alone
from tests.certify.test_rounding import emulated, rounded

pytestmark = weights_alone


def a_pass(name, epsilon, execution, bits=24):
    x = rounded(inputs(name).astype("float64"), bits)
    return SoundPass(network(name), x, np.full(len(x), epsilon), global_norms, execution), x


def inside(found, x, bits):
    net = found.network
    exact = forward(net, x)[net.logits.index]
    executed = [emulated(net, x, bits, seed) for seed in (None, 1, 2)]
    return all((np.abs(logits - exact) <= center_error(found)).all() for logits in executed)


@pytest.mark.parametrize("bits", [8, 11])
@pytest.mark.parametrize("name", NETS)
def test_emulated_centers_are_within_the_error_from_any_ball(name, bits):
    for epsilon in (0.0, 0.3):
        found, x = a_pass(name, epsilon, Execution(2.0**-bits, 0.0), bits)
        assert inside(found, x, bits)
        for index, (fresh, executed) in found.fresh.items():
            found.fresh[index] = 0.0 * fresh, executed
        assert not inside(found, x, bits)  # what the steps round by themselves counts


@pytest.mark.parametrize("name", NETS)
def test_the_error_at_the_center_does_not_grow_with_the_ball(name):
    near, far = (center_error(a_pass(name, epsilon, FLOAT32)[0]) for epsilon in (0.0, 1e4))
    # In a large ball more slopes become one; that is all.
    assert (near <= far).all() and (far <= 10 * near).all()
    ball = evaluated(network(name), inputs(name), 0, 1e4, execution=FLOAT32).error
    assert (100 * far <= ball).all()


def test_the_error_of_distance_from_a_center_is_passed_on():
    """A deep network: what one layer rounded is carried by the norms of those behind it."""
    found, x = a_pass("deep", 0.0, Execution(2.0**-8, 0.0), 8)
    whole = center_error(found)
    first = min(found.fresh)
    for index in found.fresh:
        if index != first:
            found.fresh[index] = 0.0 * found.fresh[index][0], 0.0
    assert (0.0 < center_error(found)).all() and (center_error(found) < whole).all()


def test_numbers_that_may_overflow_allow_everything():
    found, _ = a_pass("clipped", 1e39, FLOAT32)
    assert np.isinf(center_error(found)).all()
