"""Dropout while training: the bound holds for the very mask that was drawn."""

import numpy as np
import pytest
from keras import layers

import keraslip
from keraslip.bounds.ball import AffineForm, Ball
from keraslip.rules.propagation import Propagation
from keraslip.rules.walk import propagate
from tests.harness import FixedVectors, model_of, numpy, tensor
from tests.reference.paper_numpy import points_in_ball


def behind(x):
    x = keraslip.layers.ClippedReLU(0.6)(layers.Dense(10)(x))
    return layers.Dense(6)(layers.Dropout(0.4, seed=1)(x))


def pending(x):
    return keraslip.layers.ClippedReLU(0.6)(layers.Dropout(0.4, seed=1)(layers.Dense(10)(x)))


def shifted(x):
    x = keraslip.layers.ClippedReLU(0.6)(layers.Dense(10)(x)) + 1.0
    return keraslip.layers.ClippedReLU(0.6)(layers.Dense(6)(layers.Dropout(0.4, seed=1)(x)))


def one_pass(model, x, epsilon, mode):
    """A training pass with the dropout masks of the first step."""
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):
            layer.seed_generator.state.assign(np.array([1, 0], "uint32"))
    context = Propagation(tensor(epsilon), FixedVectors(), mode, 30, training=True)
    form = propagate(model, tensor(x), context)
    return form, context


@pytest.mark.parametrize("mode", ["local", "global", "paper"])
@pytest.mark.parametrize("build", [behind, pending, shifted])
def test_the_drawn_mask_is_bounded(build, mode):
    model = model_of(build, (5,))
    clean = np.random.default_rng(0).uniform(size=5)
    points = points_in_ball(clean, 0.2, 60)  # each beside a copy of the clean input, with its mask
    centers = np.tile(clean, (len(points), 1))
    form, context = one_pass(model, centers, 0.2, mode)
    moved_form, moved = one_pass(model, points, 0.2, mode)
    assert len(context.records) == len(moved.records) > 0
    dropped = 0
    for one, other in zip(context.records, moved.records, strict=True):
        change = numpy(other.ball.center) - numpy(one.ball.center)
        radius = 0.2 * numpy(one.ball.gain) * np.ones(len(points))
        assert (np.linalg.norm(change, axis=1) <= radius * (1 + 1e-3) + 1e-5).all()
        if one.ball.varying is not None:
            mask = numpy(one.ball.varying) * np.ones_like(change)
            assert np.abs(change * (1 - mask)).max() <= 1e-5
        if one.ball.box is not None:
            low, high = (numpy(side) for side in one.ball.box())
            inside = numpy(other.ball.center)
            assert (inside >= low - 1e-4).all() and (inside <= high + 1e-4).all()
    for ball, _ in form.terms:
        dropped += (numpy(ball.center) == 0).sum()
    assert dropped > 0
    clean_logits, logits = numpy(form.center), numpy(moved_form.center)
    if build is not pending:  # masks differ from sample to sample, so do the clean logits
        assert len(np.unique(clean_logits[:, 0])) > 3
    context.key = "logits"
    reach = 0.2 * numpy(context.lipschitz(form))
    assert (np.linalg.norm(logits - clean_logits, axis=1) <= reach * (1 + 1e-3) + 1e-5).all()


@pytest.mark.parametrize("build", [behind, pending, shifted])
def test_training_with_dropout(build):
    model = model_of(build, (5,))
    model.compile("sgd", epsilon=0.1)
    r = np.random.default_rng(0)
    x, y = r.uniform(size=(8, 5)).astype("float32"), r.integers(0, 3, 8)
    loss = model.fit(x, y, epochs=1, batch_size=4, verbose=0).history["loss"]
    assert np.isfinite(loss).all()


def test_inference_is_the_identity():
    model = model_of(behind, (5,))
    x = np.random.default_rng(0).uniform(size=(3, 5)).astype("float32")
    context = Propagation(tensor(0.1), FixedVectors())
    np.testing.assert_allclose(
        numpy(propagate(model, tensor(x), context).center), model.predict_on_batch(x), atol=1e-6
    )


def test_gaussian_factors_are_those_of_the_bound():
    """Of any size and sign: the radius grows by the largest of each sample."""
    form = AffineForm.closed(Ball(tensor(np.ones((2, 3))), tensor([1.0, 1.0])))
    factors = tensor([[0.5, -3.0, 1.0], [0.0, 0.2, 1.0]])
    context = Propagation(tensor(0.1), FixedVectors(), training=True)
    found = context.dropout(form, lambda x: (factors, tensor([3.0, 1.0]))).ball
    np.testing.assert_allclose(numpy(found.gain), [3.0, 1.0])
    np.testing.assert_allclose(numpy(found.center), numpy(factors))
    np.testing.assert_array_equal(numpy(found.varying), [[1, 1, 1], [0, 1, 1]])


def test_noise_and_augmentation_move_the_ball_and_keep_its_size():
    model = model_of(lambda x: layers.RandomFlip()(layers.GaussianNoise(0.5)(x)), (4, 4, 3))
    x = np.random.default_rng(0).uniform(size=(2, 4, 4, 3))
    form, context = one_pass(model, x, 0.1, "local")
    still = propagate(model, tensor(x), Propagation(tensor(0.1), FixedVectors(), "local", 30))
    assert np.abs(numpy(form.center) - numpy(still.center)).max() > 0.01
    one, other = (numpy(context.lipschitz(each)) for each in (form, still))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_augmentation_behind_an_activation_is_refused():
    model = model_of(lambda x: layers.RandomFlip()(keraslip.layers.ClippedReLU(0.6)(x)), (4, 4, 3))
    with pytest.raises(keraslip.rules.UnsupportedLayerError, match="in front of all other layers"):
        model.compile("adam", epsilon=0.1)
