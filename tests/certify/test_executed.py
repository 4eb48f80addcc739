"""Networks as the backend executes them stay within what a pass allows for float32."""

import keras
import numpy as np
import pytest

from keraslip.certify import CertificateViolation
from keraslip.certify.execution.executed import Executed, self_check
from tests.certify.nets import FLOAT32, NETS, ball, evaluated, forward, inputs, model, network
from tests.certify.test_rounding import emulated

#: JAX compiles every net: a few of them there.
EXECUTED = ["clipped", "clipped maxmin", "means", "channels first", "normalised"]
EXECUTED = EXECUTED if keras.backend.backend() == "jax" else list(NETS)


@pytest.mark.parametrize("name", EXECUTED)
def test_executed_logits_are_within_the_error(name):
    net, x = network(name), inputs(name)
    executed = Executed(model(name), 64)
    exact = forward(net, x)[net.logits.index]
    for epsilon in (0.0, 0.3):
        got = evaluated(net, x, 0, epsilon, execution=FLOAT32)
        np.testing.assert_allclose(got.logits, exact, rtol=1e-12, atol=1e-13)
        distance = np.abs(executed.logits(x) - exact)
        assert (distance <= got.error).all()
        self_check(x, executed.logits(x), got.logits, got.error)
    # The bound is no more than some hundred times what happens.
    small = evaluated(net, x, 0, 0.0, execution=FLOAT32).error
    assert small.max() < 1e-3 * (1 + np.abs(exact).max())


@pytest.mark.parametrize("name", EXECUTED)
def test_executed_margins_hold_without_any_tolerance(name):
    net, x = network(name), inputs(name)
    epsilon = 0.1
    points = ball(net, x, epsilon * (1 - 1e-6), 40).astype("float32")
    logits = Executed(model(name), 256).logits(points.reshape(-1, *x.shape[1:]))
    logits = logits.reshape(*points.shape[:2], -1).astype("float64")
    moved = (points - x[:, None].astype("float64")).reshape(*points.shape[:2], -1)
    assert (np.linalg.norm(moved, axis=2) <= epsilon).all()
    for label in range(net.classes):
        margins = evaluated(net, x, label, epsilon, "local", execution=FLOAT32).margins
        others = np.arange(net.classes) != label
        gaps = (logits[..., [label]] - logits)[..., others]
        assert (gaps >= margins.each[:, None, others]).all()


@pytest.mark.parametrize("name", EXECUTED)
def test_a_cast_to_bfloat16_is_caught(name, tmp_path, monkeypatch):
    """Weights and activations of eight bits: the check that passes in float32 fails."""
    monkeypatch.setenv("KERASLIP_VIOLATIONS", str(tmp_path))
    net, x = network(name), inputs(name)
    got = evaluated(net, x, 0, 0.1, execution=FLOAT32)
    with pytest.raises(CertificateViolation, match="less precision than it says"):
        self_check(x, emulated(net, x, 8), got.logits, got.error)
