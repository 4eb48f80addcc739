"""What a step costs: one forward pass, one trace, and no memory that grows with the data."""

import keras
import numpy as np
import pytest

import keraslip
from keraslip.models import robust_step as module
from keraslip.rules import LinearRule
from tests.models.nets import CLASSES, FEATURES, compiled, dense_net, samples


class Calls(keras.callbacks.Callback):
    """Counts by name. A callback, for it is no part of what a network is known by: a rule's globals are."""

    def __init__(self):
        super().__init__()
        self.counts = {"layer": 0, "rule": 0}


CALLS = Calls()


class Counted(keras.layers.Dense):
    """Dense layer that counts how often it is called itself."""

    def call(self, inputs, training=None):
        CALLS.counts["layer"] += 1
        return super().call(inputs, training=training)


@keraslip.register_rule(Counted)
class CountedRule(LinearRule):
    """Counts how often the bound, and with it the logits, is computed."""

    def propagate(self, operation, context, *args, **kwargs):
        CALLS.counts["rule"] += 1
        return super().propagate(operation, context, *args, **kwargs)

    def linear_map(self, layer, in_shape):
        return keraslip.linear.DenseMap(layer.kernel, in_shape)

    def bias(self, layer):
        return layer.bias


def counted_net():
    inputs = keras.Input((FEATURES,))
    # Of the sizes of `dense_net`: JAX compiles its operations once for both.
    x = keraslip.layers.ClippedReLU()(Counted(8)(inputs))
    return keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(CLASSES)(x))


@pytest.mark.gap
def test_a_step_runs_the_forward_pass_once():
    x, y = samples(16)
    model = compiled(counted_net(), run_eagerly=True, jit_compile=False)
    model.fit(x, y, batch_size=8, epochs=1, verbose=0)  # builds what is built once
    CALLS.counts.update(layer=0, rule=0)
    model.fit(x, y, batch_size=8, epochs=3, verbose=0)
    # The bound yields the logits, and the layer itself is not called besides: 3 epochs of 2 steps; where they
    # are not compiled, a converged bound before the first two steps, and two bounds after each epoch.
    gap = 2 + 3 * 2 if keras.backend.backend() == "torch" else 0
    assert CALLS.counts == {"layer": 0, "rule": 3 * 2 + gap}
    CALLS.counts.update(layer=0, rule=0)
    model.evaluate(x, y, batch_size=8, verbose=0)
    assert CALLS.counts == {"layer": 0, "rule": 2}


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch traces nothing")
def test_epsilon_and_kappa_change_without_a_new_trace(monkeypatch):
    traces = []
    original = module.robust_step

    def counted(model, x, y, sample_weight, training):
        traces.append(training)
        return original(model, x, y, sample_weight, training)

    backend = __import__(
        f"keraslip.models.train_step.{keras.backend.backend()}", fromlist=["robust_step"]
    )
    monkeypatch.setattr(backend, "robust_step", counted)
    x, y = samples()
    model = compiled(dense_net())
    model.fit(x, y, batch_size=8, epochs=1, verbose=0, validation_data=(x, y))
    first = list(traces)
    assert sorted(first) == [False, True]
    model.fit(x, y, batch_size=8, epochs=5, verbose=0, validation_data=(x, y))
    model.run_state.epsilon.assign(0.2)
    model.evaluate(x, y, batch_size=8, verbose=0)
    assert traces == first


def test_no_weight_grows_with_the_data():
    sizes = []
    model = compiled(dense_net(), "adam")
    for count in (8, 64):
        x, y = samples(count)
        model.fit(x, y, batch_size=8, verbose=0)
        sizes.append([w.shape for w in [*model.weights, *model.optimizer.variables]])
    assert sizes[0] == sizes[1]
    # One vector for each norm and four numbers, whatever the data: nothing per sample.
    trained = {id(w) for w in model.trainable_weights}
    own = [tuple(w.shape) for w in model.weights if id(w) not in trained]
    assert sorted(own) == sorted([(), (), (), (), (1, 8), (1, CLASSES)])


def test_the_vectors_learn_the_norms():
    x, y = samples(8)
    frozen = keras.optimizers.SGD(0.0)
    model = compiled(dense_net(), frozen, bound="global", epsilon=1e-3)
    model.fit(x, y, batch_size=8, epochs=30, verbose=0)
    kernels = [model.get_layer(name).get_weights()[0] for name in ("first", "logits")]
    product = np.prod([np.linalg.norm(kernel, 2) for kernel in kernels])
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["lipschitz"] == pytest.approx(product, rel=1e-4)
    estimated = model.estimate(x, y, bound="global").lipschitz
    np.testing.assert_allclose(estimated, product, rtol=1e-4)
