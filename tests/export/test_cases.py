"""Every case in the exported graph: it says what the frozen certificates say, and no more."""

import numpy as np
import pytest

from tests.cases import CASES
from tests.certify.nets import FLOAT32, evaluated, network
from tests.export.nets import on_tensorflow
from tests.export.test_float_ends import asked

pytestmark = on_tensorflow
EPSILON = 0.05


@pytest.mark.parametrize("name", CASES)
def test_the_graph_is_the_frozen_certificate(name):
    net, x = network(name), CASES[name].inputs()
    logits = evaluated(net, x, 0, 0.0).logits
    label = logits.argmax(axis=1)
    found = asked(net, x, EPSILON, logits)
    known = evaluated(net, x, label, EPSILON, backwards=False, execution=FLOAT32)
    np.testing.assert_array_equal(found["label"], label)
    for mine, expected in (
        (found["margin"], known.margins.least),
        (found["lipschitz"], known.lipschitz),
    ):
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-5)
    # Rounded to the safe side.
    assert (found["margin"] <= known.margins.least).all()
    assert (found["lipschitz"] >= known.lipschitz).all()
    np.testing.assert_array_equal(found["certified"], known.margins.least > 0)
