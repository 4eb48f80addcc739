"""Both modes against their NumPy transcriptions, on dense and convolutional nets."""

import keras
import numpy as np
import pytest
from keras import layers

import keraslip
from tests.harness import bound, model_of, numpy
from tests.reference.paper_numpy import channel_halves, local_numpy, materialise, paper_numpy

IMAGE, FLAT = (6, 5, 2), (7,)
Conv, Dense = keraslip.layers.MaskedLipschitzConv2D, keraslip.layers.MaskedLipschitzDense


def act(kind):
    return {
        "relu": layers.ReLU,
        "clipped_relu": lambda: keraslip.layers.ClippedReLU(0.9),
        "maxmin": keraslip.layers.MaxMin,
        "clipped_maxmin": lambda: keraslip.layers.ClippedMaxMin(0.7, -0.7),
    }[kind]()


def dense_net(kind):
    return lambda x: act(kind)(Dense(8)(act(kind)(Dense(12)(x))))


def conv_net(kind):
    def build(x):
        x = act(kind)(Conv(4, 3, strides=2, padding="same")(x))
        x = act(kind)(Conv(4, 2, groups=2)(x))
        return act(kind)(Dense(6)(layers.Flatten()(x)))

    return build


def transcribed(model):
    """Weights, biases and kinds of a stack of layers, for the reference."""
    weights, biases, kinds = [], [], []
    for layer in model.layers:
        shape = () if isinstance(layer, layers.InputLayer) else tuple(layer.output.shape[1:])
        if isinstance(layer, layers.Dense | layers.Conv2D):
            shape = tuple(layer.input.shape[1:])
            kernel, bias = materialise(layer, shape)
            weights.append(kernel)
            biases.append(bias)
        elif isinstance(layer, layers.ReLU):
            kinds.append(("relu",))
        elif isinstance(layer, keraslip.layers.ClippedReLU):
            kinds.append(("clipped_relu", numpy(layer.theta).ravel()))
        elif isinstance(layer, keraslip.layers.ClippedMaxMin):
            clips = numpy(layer.upper_threshold).ravel(), numpy(layer.lower_threshold).ravel()
            kinds.append(("clipped_maxmin", *clips, *channel_halves(shape)))
        elif isinstance(layer, keraslip.layers.MaxMin):
            kinds.append(("maxmin", *channel_halves(shape)))
        else:
            assert isinstance(layer, layers.InputLayer | layers.Flatten)
    return weights, biases, kinds


def check(model, x, epsilon, mode):
    net = transcribed(model)
    label = np.arange(len(x)) % 3
    # Tight: a convolution leaves out the taps that fall on the padding, as its matrix does.
    mine = bound(model, x, epsilon, mode, label=label, tight=True)
    if mode == "paper":
        reference = paper_numpy(*net, x, epsilon, label)
        tightest = paper_numpy(*net, x, epsilon, label, exact=True)
    else:
        reference = local_numpy(*net, x, epsilon, label, exact=False)
        tightest = local_numpy(*net, x, epsilon, label)
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(mine.logits, reference["logits"], **close)
    batch = len(x)
    for i, layer in enumerate(mine.layers):
        for side in (0, 1):
            for box, name in ((layer.box_before, "pre_boxes"), (layer.box_after, "post_boxes")):
                found = np.asarray(box[side]).reshape(batch, -1)
                np.testing.assert_allclose(found, reference[name][i][side], **close)
        masks, expected = layer.mask.reshape(batch, -1) > 0, reference["masks"][i]
        low, high = reference["pre_boxes"][i]
        # Of a linear unit whose inputs are all constant the two think otherwise: none here.
        assert (low < high).all()
        assert (masks == expected).all()
        np.testing.assert_allclose(epsilon * layer.gain, reference["radii"][i], **close)
    np.testing.assert_allclose(mine.lipschitz, reference["lipschitz"], **close)
    slack = 1e-4 * (1 + np.abs(reference["worst"]))
    assert (mine.worst <= reference["worst"] + slack).all()
    assert (mine.worst >= tightest["worst"] - slack).all()
    return mine


@pytest.mark.parametrize("mode", ["local", "paper"])
@pytest.mark.parametrize("kind", ["relu", "clipped_relu", "maxmin", "clipped_maxmin"])
@pytest.mark.parametrize(
    "build, shape", [(dense_net, FLAT), (conv_net, IMAGE)], ids=["dense", "conv"]
)
def test_agrees_with_the_transcription(build, shape, kind, mode):
    model = model_of(build(kind), shape, seed=2)
    x = np.random.default_rng(4).uniform(size=(3, *shape)).astype("float32")
    some = [check(model, x, epsilon, mode).masks for epsilon in (0.02, 0.1, 0.5)]
    if kind != "maxmin":
        share = np.mean([mask.mean() for masks in some for mask in masks])
        assert 0 < share < 1


def test_power_iterations_agree_with_the_transcription():
    """The published algorithm end to end: iterations, not singular values."""
    model = model_of(conv_net("clipped_relu"), IMAGE, seed=2)
    x = np.random.default_rng(4).uniform(size=(2, *IMAGE)).astype("float32")
    reference = paper_numpy(*transcribed(model), x, 0.1)
    mine = bound(model, x, 0.1, "paper", power_iterations=100, tight=True)
    np.testing.assert_allclose(mine.lipschitz, reference["lipschitz"], rtol=5e-3)
    for found, expected in zip(mine.gains, reference["radii"], strict=True):
        np.testing.assert_allclose(0.1 * found, expected, rtol=5e-3)


def test_boxes_of_convolutions_without_padding_need_not_be_tight():
    model = model_of(
        lambda x: act("clipped_relu")(Conv(4, 3)(act("clipped_relu")(Conv(4, 3)(x)))), IMAGE
    )
    x = np.random.default_rng(4).uniform(size=(2, *IMAGE)).astype("float32")
    reference = paper_numpy(*transcribed(model), x, 0.1)
    mine = bound(model, x, 0.1, "paper")
    for layer, box in zip(mine.layers, reference["pre_boxes"], strict=True):
        for found, expected in zip(layer.box_before, box, strict=True):
            np.testing.assert_allclose(
                np.asarray(found).reshape(2, -1), expected, rtol=1e-4, atol=1e-5
            )


def test_the_paper_differentiates_its_iterations():
    """Unrolled gradients differ from those of the held vectors, as long as nothing has converged."""
    model = model_of(dense_net("clipped_relu"), FLAT)
    x = np.random.default_rng(4).uniform(size=(4, *FLAT)).astype("float32")
    y = np.array([0, 1, 2, 0])
    moved = {}
    start = model.get_weights()
    for mode in ("local", "paper"):
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.1), epsilon=0.3, train_epsilon=0.3, bound=mode)
        loss = model.fit(x, y, epochs=1, batch_size=4, verbose=0).history["loss"]
        assert np.isfinite(loss).all()
        moved[mode] = numpy(model.trainable_weights[0]) - start[0]
    assert np.abs(moved["local"] - moved["paper"]).max() > 1e-6
