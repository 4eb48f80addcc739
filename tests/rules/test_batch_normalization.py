"""Batch normalisation: statistics move as in Keras, and a step's bound is about those of its batch."""

import keras
import numpy as np
import pytest
from keras import layers

import keraslip
from keraslip.rules.propagation import Propagation
from keraslip.rules.walk import propagate
from tests.cases import IMAGE, batch_norm, conv, theta
from tests.harness import FixedVectors, bound, model_of, numpy, tensor

X = np.random.default_rng(0).uniform(size=(6, *IMAGE)).astype("float32")
Y = np.array([0, 1, 2, 0, 1, 2])


def build(x, **kwargs):
    return theta(batch_norm(**kwargs)(conv()(x)))


def normalization(model):
    return next(layer for layer in model.layers if isinstance(layer, layers.BatchNormalization))


def moving(model):
    layer = normalization(model)
    return numpy(layer.moving_mean), numpy(layer.moving_variance)


def test_statistics_move_as_in_keras():
    model = model_of(build, IMAGE)
    plain = keras.Model(model.inputs, model.outputs)
    before, first = [numpy(weight) for weight in plain.weights], moving(model)
    model.compile(keras.optimizers.SGD(0.0), epsilon=0.1)
    model.fit(X, Y, batch_size=3, epochs=2, shuffle=False, verbose=0)
    found = moving(model)
    assert not np.allclose(found[0], first[0])
    for weight, value in zip(plain.weights, before, strict=True):
        weight.assign(value)
    plain.compile(keras.optimizers.SGD(0.0), "mse")
    plain.fit(X, np.eye(3)[Y], batch_size=3, epochs=2, shuffle=False, verbose=0)
    for mine, expected in zip(found, moving(plain), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6)


def test_a_frozen_one_stays():
    model = model_of(build, IMAGE)
    normalization(model).trainable = False
    before = moving(model)
    model.compile("sgd", epsilon=0.1)
    model.fit(X, Y, verbose=0)
    for mine, expected in zip(moving(model), before, strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("axis", [-1, 1])
def test_a_step_is_bounded_by_the_statistics_of_its_batch(axis):
    """As the network at inference that has these for its moving ones."""
    model = model_of(lambda x: build(x, axis=axis, momentum=0.0), IMAGE)
    context = Propagation(tensor(0.1), FixedVectors(), "local", 30, training=True)
    step = propagate(model, tensor(X), context)
    fixed = Propagation(tensor(0.1), FixedVectors(), "local", 30)
    form = propagate(model, tensor(X), fixed)
    np.testing.assert_allclose(numpy(step.center), numpy(form.center), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        numpy(context.lipschitz(step)), numpy(fixed.lipschitz(form)), rtol=1e-4
    )


@pytest.mark.parametrize("gamma", [10.0, -3.0])
def test_behind_a_convolution_it_costs_nothing(gamma):
    """The bound is that of the one convolution that both are."""
    model = model_of(build, IMAGE)
    layer, kernel = normalization(model), model.layers[1]
    layer.gamma.assign(np.full(layer.gamma.shape, gamma))
    scale = gamma / np.sqrt(moving(model)[1] + layer.epsilon)
    offset = numpy(layer.beta) - moving(model)[0] * scale
    one = model_of(lambda x: theta(conv()(x)), IMAGE)
    one.layers[1].kernel.assign(numpy(kernel.kernel) * scale)
    one.layers[1].bias.assign(numpy(kernel.bias) * scale + offset)
    for mine, theirs in zip(one.layers[2:], model.layers[3:], strict=True):
        mine.set_weights(theirs.get_weights())
    folded, apart = bound(one, X[:2], 0.1), bound(model, X[:2], 0.1)
    np.testing.assert_allclose(apart.lipschitz, folded.lipschitz, rtol=1e-4)
    proved = [net.certify(X[:2], epsilon=0.01, verbose=False).margin for net in (one, model)]
    np.testing.assert_allclose(*proved, rtol=1e-3)


def test_renorm_is_refused():
    with pytest.raises(keraslip.rules.UnsupportedLayerError, match="use BatchNormalization"):
        model_of(lambda x: layers.BatchNormalization(renorm=True)(x), IMAGE).compile(
            "sgd", epsilon=0.1
        )


class _Alone:
    """Stands in for the processes of a group of one."""

    def average(self, tensors, samples):
        self.count = len(tensors)
        return tensors

    def add_up(self, variables):
        pass


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="processes are PyTorch's")
def test_processes_share_the_moving_statistics():
    model = model_of(build, IMAGE)
    model.compile("sgd", epsilon=0.1)
    model._processes = _Alone()
    model.fit(X, Y, batch_size=6, verbose=0)
    shared = [*model.trainable_weights, *model.warm_starts.vectors, *moving(model)]
    assert model._processes.count == len(shared)
