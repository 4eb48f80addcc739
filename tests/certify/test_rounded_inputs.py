"""Certificates are about what was given: float64 and large integers are rounded before they enter."""

import numpy as np
import pytest

from tests.certify.nets import dense_model

#: The two logits are the two entries: a label changes at the gap over root two.
PLAIN = [np.eye(2)]


def certified(x, epsilon, **options):
    model = dense_model(PLAIN)
    return model.certify(x, epsilon=epsilon, arithmetic="float64", verbose=False, **options)


@pytest.mark.parametrize(
    "x",
    [
        np.array([[20000.0012, 20000.0]]),  # float32 has 20000.00195
        np.array([[2**24 + 3, 2**24]]),  # and 2^24 + 4
    ],
    ids=["float64", "int64"],
)
def test_radius_and_certificate_are_about_the_numbers_that_were_given(x):
    gap = float(x[0, 0] - x[0, 1])
    true = gap / np.sqrt(2)
    rounded = x.astype("float32").astype("float64")
    assert rounded[0, 0] - rounded[0, 1] > 1.2 * gap
    beyond = 0.5 * (true + (rounded[0, 0] - rounded[0, 1]) / np.sqrt(2))
    found = certified(x, beyond, radius=True)
    assert not found.certified[0] and 0 < found.radius[0] <= true
    assert found.epsilon[0] == beyond
    # The same for as many radii as samples, and a part of the radius is certified.
    twice = np.concatenate([x, x])
    found = certified(twice, np.array([beyond, 0.2 * true]), radius=True)
    np.testing.assert_array_equal(found.certified, [False, True])
    assert 0.2 * true <= found.radius[1] <= true


def test_an_attack_stays_in_the_ball_around_what_was_given():
    # Rounding brings the entries together, which is where the attack goes as well.
    near = np.array([[0.6000006, 0.5999998]], "float32").astype("float64")
    x, epsilon = near + np.array([[2e-8, -2e-8]]), 2e-6
    assert (x.astype("float32") == near).all()
    found = certified(x, epsilon)
    assert found.status[0] == "attacked"
    assert np.linalg.norm(found.counterexamples[0].astype("float64") - x[0]) <= epsilon


def test_the_lipschitz_constant_is_about_the_ball_around_what_was_given():
    """A unit that opens inside the ball of what was given, and outside that of the rounded number."""
    given, radius = np.array([[-20000.0012, 0.0]]), 20000.5
    opens = float(np.float32(radius - 20000.0016))
    assert np.float32(given[0, 0]) + radius < opens < given[0, 0] + radius
    weights = [np.array([[1.0, 0.0]]), np.array([[3.0], [0.0]])]
    model = dense_model(weights, [np.array([-opens]), np.zeros(2)], None)
    assert model.local_lipschitz(given, epsilon=radius)[0] >= 3.0


def test_the_compiled_epsilon_is_not_rounded():
    """0.7 is more than the float32 next to it."""
    model = dense_model(PLAIN)
    model.compile("sgd", epsilon=0.7, input_range=None)
    assert float(np.float32(0.7)) < 0.7
    found = model.certify(np.array([[3.0, 0.0]], "float32"), verbose=False)
    assert found.epsilon[0] == 0.7
