"""Fewer digits where a model is served: the self-test fails, and nothing is certified."""

import numpy as np
import pytest

from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.norms.rounding import Execution
from keraslip.export.self_test import SelfTest
from tests.export.nets import build, images, on_tensorflow

X, RADIUS = images()[0], np.float32(1e-3)


@pytest.fixture(scope="module")
def graph():
    from keraslip.export.saved_model import ServedModel

    return ServedModel(build("relu"), {})


def answers(graph, change):
    """Self-test and certificates of a graph whose logits are changed, traced anew."""
    import tensorflow as tf

    model = graph.model
    graph.model = lambda x, training: change(model(x, training=training))
    try:
        graph.serve = tf.function(graph._serve)
        tested = graph._tested(tf.constant(30.0))
        certified = graph._certify(tf.constant(X), tf.constant(RADIUS))["certified"]
        return bool(tested["passed"]), float(tested["ratio"]), certified.numpy()
    finally:
        graph.model = model


@on_tensorflow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_fewer_digits_fail_the_self_test(graph, dtype):
    import tensorflow as tf

    passed, ratio, certified = answers(graph, lambda logits: logits)
    assert passed and ratio < 5 and certified.all()
    cast = lambda logits: tf.cast(tf.cast(logits, dtype), tf.float32)  # noqa: E731
    passed, ratio, certified = answers(graph, cast)
    assert not passed and ratio > 100 and not certified.any()
    passed, ratio, certified = answers(graph, lambda logits: logits * np.nan)
    assert not passed and np.isnan(ratio) and not certified.any()


@on_tensorflow
def test_certificates_need_what_float32_does_and_not_what_it_may(graph, monkeypatch):
    """Half of the worst error is beyond any real one."""
    network, _ = network_of(graph.model)
    evaluate = Evaluator(network, Execution.of("float32"))
    worst = evaluate(X, np.zeros(len(X), "int64"), np.zeros(len(X))).error
    assert graph.test.share < 0.3
    half = (0.5 * worst).astype("float32")
    off = lambda logits: logits + half if len(logits) == len(X) else logits  # noqa: E731
    assert not answers(graph, off)[-1].any()
    monkeypatch.setattr(graph.graph, "_share", 1.0)
    assert answers(graph, off)[-1].all()


@on_tensorflow
def test_a_switch_around_a_served_model(exported):
    import tensorflow as tf

    served = tf.saved_model.load(str(exported["relu"].path))
    honest = served.serve(X).numpy()
    options = tf.config.optimizer.set_experimental_options
    options({"auto_mixed_precision_onednn_bfloat16": True})
    try:
        if np.abs(served.serve(X).numpy() - honest).max() < 1e-4:
            pytest.skip("this processor does not obey the switch")
        assert not served.self_test()["passed"] and served.self_test()["ratio"] > 1000
        assert not served.certify(X, RADIUS)["certified"].numpy().any()
    finally:
        options({"auto_mixed_precision_onednn_bfloat16": False})
    assert served.self_test()["passed"] and served.certify(X, RADIUS)["certified"].numpy().all()


def test_the_share_that_is_allowed_is_a_share():
    model = build("relu")
    test = SelfTest.of(model, network_of(model)[0])
    assert 0 < test.share < 0.3 and test.x.shape == (8, 6, 7, 2)
    for weight in model.trainable_weights:
        weight.assign(0 * weight)
    assert 0 < SelfTest.of(model, network_of(model)[0]).share <= 1
