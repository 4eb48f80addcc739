"""Every layer that has a rule: sampled points of the ball leave none of its bounds."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from tests.harness import bound, model_of, run_rule_test

IMAGE, FLAT = (6, 5, 2), (7,)


def theta(x, value=0.6):
    return keraslip.layers.ClippedReLU(value)(x)


def maxmin(x):
    return keraslip.layers.ClippedMaxMin(0.4, -0.4)(x)


def conv(filters=4, size=3, **kwargs):
    return keraslip.layers.MaskedLipschitzConv2D(filters, size, **kwargs)


def dense(units=10, **kwargs):
    return keraslip.layers.MaskedLipschitzDense(units, **kwargs)


def before_and_after(layer, act=theta):
    """Some layer behind a clipped activation and in front of another linear map."""
    return lambda x: act(conv(padding="same")(layer(act(conv()(x)))))


def normalization(axis, shape, invert=False):
    r = np.random.default_rng(0)
    size = [shape[i - 1] for i in axis]
    return layers.Normalization(
        axis=axis or None,
        mean=r.normal(size=size) if axis else 0.4,
        variance=r.uniform(0.05, 2.0, size=size) if axis else 0.1,
        invert=invert,
    )


CASES = {
    "nothing": (FLAT, lambda x: x),
    "flatten": (IMAGE, layers.Flatten()),
    "flatten behind an activation": (IMAGE, lambda x: dense()(layers.Flatten()(theta(conv()(x))))),
    "reshape": (IMAGE, before_and_after(lambda x: layers.Reshape((3, 4, 4))(x))),
    "reshape with -1": (IMAGE, lambda x: theta(layers.Reshape((6, -1))(theta(conv()(x))))),
    "permute": (IMAGE, before_and_after(lambda x: layers.Permute((2, 1, 3))(x))),
    "permute of channels": (IMAGE, lambda x: layers.Permute((3, 1, 2))(theta(conv()(x)))),
    "permute of something pending": (IMAGE, lambda x: theta(layers.Permute((3, 2, 1))(conv()(x)))),
    "dropout": (FLAT, lambda x: theta(dense()(layers.Dropout(0.5)(theta(dense()(x)))))),
    "dropout of something pending": (FLAT, lambda x: theta(layers.Dropout(0.5)(dense()(x)))),
    "linear": (FLAT, lambda x: layers.Activation("linear")(theta(dense()(x)))),
    "relu": (FLAT, lambda x: layers.Activation("relu")(dense()(x))),
    "fused relu": (FLAT, lambda x: layers.Dense(8, "relu")(layers.Dense(9, activation="relu")(x))),
    "fused relu of a convolution": (IMAGE, layers.Conv2D(3, 3, activation="relu")),
    "relu layer": (FLAT, lambda x: layers.ReLU()(dense()(x))),
    "relu layer with a limit": (FLAT, lambda x: dense(5)(layers.ReLU(max_value=0.5)(dense()(x)))),
    "zero padding": (IMAGE, before_and_after(layers.ZeroPadding2D(((1, 2), (0, 1))))),
    "zero padding, pending": (IMAGE, lambda x: theta(layers.ZeroPadding2D(1)(conv()(x)))),
    "rescaling": (IMAGE, lambda x: theta(conv()(layers.Rescaling(1 / 0.3, offset=-1.5)(x)))),
    "rescaling behind": (FLAT, lambda x: theta(dense()(layers.Rescaling(-2.0)(theta(dense()(x)))))),
    "normalization": (IMAGE, lambda x: theta(conv()(normalization((3,), IMAGE)(x)))),
    "normalization, one": (IMAGE, lambda x: theta(conv()(normalization((), IMAGE)(x)))),
    "normalization, all": (IMAGE, lambda x: theta(conv()(normalization((1, 2, 3), IMAGE)(x)))),
    "normalization, rows": (IMAGE, lambda x: theta(conv()(normalization((1,), IMAGE)(x)))),
    "normalization, inverse": (FLAT, lambda x: theta(dense()(normalization((1,), FLAT, True)(x)))),
    "normalization, padding": (
        IMAGE, lambda x: theta(conv(strides=2, padding="same")(normalization((3,), IMAGE)(x)))
    ),
    "dense": (FLAT, lambda x: theta(layers.Dense(12)(x))),
    "dense without bias": (FLAT, lambda x: theta(dense(use_bias=False)(x))),
    "dense on images": (IMAGE, lambda x: theta(dense(5)(theta(dense(6)(x))))),
    "two dense, nothing between": (FLAT, lambda x: theta(dense()(dense(5)(theta(dense()(x)))))),
    "conv": (IMAGE, lambda x: theta(conv()(theta(layers.Conv2D(4, 2, padding="same")(x))))),
    "conv, strides": (IMAGE, lambda x: theta(conv(4, 4, strides=2, padding="same")(theta(conv()(x))))),
    "conv, groups": (IMAGE, lambda x: theta(conv(6, (3, 2), groups=2)(theta(conv(4)(x))))),
    "conv, dilation": (IMAGE, lambda x: theta(conv(4, 2, dilation_rate=2)(theta(conv()(x))))),
    "two convs, nothing between": (IMAGE, lambda x: theta(conv()(conv()(x)))),
    "average pooling": (IMAGE, before_and_after(layers.AveragePooling2D(2))),
    "average pooling, same": (IMAGE, before_and_after(layers.AveragePooling2D(2, padding="same"))),
    "average pooling, overlap": (
        IMAGE, before_and_after(layers.AveragePooling2D(3, strides=1, padding="same"))
    ),
    "global pooling": (IMAGE, lambda x: layers.GlobalAveragePooling2D()(theta(conv()(x)))),
    "global pooling, kept": (
        IMAGE,
        lambda x: theta(dense()(layers.GlobalAveragePooling2D(keepdims=True)(theta(conv()(x))))),
    ),
    "clipped maxmin": (FLAT, lambda x: maxmin(dense()(maxmin(dense()(x))))),
    "clipped maxmin of images": (IMAGE, lambda x: maxmin(conv()(maxmin(conv(padding="same")(x))))),
    "maxmin": (FLAT, lambda x: theta(dense()(keraslip.layers.MaxMin()(dense()(theta(dense()(x))))))),
    "bare relu": (FLAT, lambda x: ops.relu(dense()(x))),
    "plus a constant": (FLAT, lambda x: theta(dense()(theta(dense()(x)) + 0.7))),
    "a constant plus": (FLAT, lambda x: theta(dense()(0.3 + theta(dense()(x))))),
    "plus a constant tensor": (FLAT, lambda x: theta(dense()(theta(dense()(x)) + ops.arange(10.0)))),
    "plus a constant, flattened": (
        IMAGE, lambda x: dense()(layers.Flatten()(theta(conv()(x)) + 2.0)),
    ),
    "plus a constant, activated": (FLAT, lambda x: theta(theta(dense()(x)) + 0.3)),
    "plus a constant, dropped out": (FLAT, lambda x: layers.Dropout(0.1)(theta(dense()(x)) + 1.0)),
    "activation of an activation": (FLAT, lambda x: maxmin(theta(dense()(x)))),
    "activation of the input": (FLAT, lambda x: theta(x, 0.5)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_layer(name):
    shape, build = CASES[name]
    run_rule_test(build, shape, epsilons=(0.1,), pgd=name in ("conv, groups", "clipped maxmin"))


CHANNELS_FIRST = {
    "conv": lambda x, last: theta(conv(4, (3, 2), data_format=last)(x)),
    "conv, same, strides": lambda x, last: theta(
        conv(4, 3, strides=2, padding="same", data_format=last)(x)
    ),
    "pooling": lambda x, last: theta(
        conv(4, 2, data_format=last)(layers.AveragePooling2D(2, data_format=last)(theta(x, 0.7)))
    ),
    "global pooling": lambda x, last: layers.GlobalAveragePooling2D(data_format=last)(theta(x)),
    "global pooling, kept": lambda x, last: layers.GlobalAveragePooling2D(
        data_format=last, keepdims=True
    )(theta(x)),
    "padding": lambda x, last: theta(
        conv(3, 2, data_format=last)(layers.ZeroPadding2D(((1, 0), (0, 2)), data_format=last)(x))
    ),
    "flatten": lambda x, last: dense()(layers.Flatten(data_format=last)(theta(x, 0.7))),
    "maxmin": lambda x, last: keraslip.layers.ClippedMaxMin(0.2, -0.2, data_format=last)(
        conv(4, 2, data_format=last)(x)
    ),
    "rescaling": lambda x, last: theta(conv(4, 2, data_format=last)(layers.Rescaling(2.0)(x))),
}


@pytest.mark.parametrize("name", CHANNELS_FIRST)
def test_both_data_formats_agree(name):
    """The bound of channels-first layers is sound, and the one of the transposed channels-last net."""
    build = CHANNELS_FIRST[name]
    last = model_of(lambda x: build(x, "channels_last"), (6, 5, 2))

    def transposed(x):
        out = build(layers.Permute((3, 1, 2))(x), "channels_first")
        return layers.Permute((2, 3, 1))(out) if len(out.shape) == 4 else out

    first = model_of(transposed, (6, 5, 2))
    for mine, other in zip(first.trainable_weights, last.trainable_weights, strict=True):
        value = ops.convert_to_numpy(other)
        if len(value.shape) == 4 and value.shape[0] == 1:  # thresholds
            value = np.moveaxis(value, -1, 1)
        mine.assign(value)
    x = np.random.default_rng(0).uniform(size=(3, 6, 5, 2)).astype("float32")
    a, b = bound(last, x, 0.2), bound(first, x, 0.2)
    for field in ("logits", "worst", "lipschitz", "margin"):
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=1e-3, atol=1e-4)
    for one, other in zip(a.masks, b.masks, strict=True):
        assert one.sum() == other.sum()
    try:
        first.predict_on_batch(x)
    except Exception as error:  # noqa: BLE001 - the backend has no such kernel: nothing to compare
        if keras.backend.backend() != "tensorflow":
            raise
        pytest.skip(
            f"TensorFlow without a kernel for channels-first on this machine: {error!r:.60}"
        )
    run_rule_test(first, (6, 5, 2), epsilons=(0.1,), modes=("local", "paper"))


def test_tight_row_norms_are_sound_and_tighter():
    def build(x):
        return theta(conv(padding="same")(theta(conv(6, padding="same")(x), 0.3)))

    model = run_rule_test(build, IMAGE, epsilons=(0.1,), modes=("local",), tight=True)
    x = np.random.default_rng(3).uniform(size=(4, *IMAGE)).astype("float32")
    tight, loose = bound(model, x, 0.1, tight=True), bound(model, x, 0.1)
    for mine, other in zip(tight.masks, loose.masks, strict=True):
        assert (mine <= other).all()
    assert sum(m.sum() for m in tight.masks) < sum(m.sum() for m in loose.masks)


def test_a_linear_net_is_bounded_exactly():
    """One linear map: the worst-case logits are reached by the points of the sphere."""
    model = model_of(lambda x: layers.Rescaling(2.0)(x), FLAT)
    x = np.random.default_rng(0).uniform(size=(2, *FLAT)).astype("float32")
    kernel = 2.0 * ops.convert_to_numpy(model.get_layer("logits_of_test").kernel)
    for mode in ("local", "global", "paper"):
        result = bound(model, x, 0.3, mode)
        for s, label in enumerate(result.label):
            slopes = kernel - kernel[:, [label]]
            expected = result.logits[s] + 0.3 * np.linalg.norm(slopes, axis=0)
            np.testing.assert_allclose(result.worst[s], expected, rtol=1e-5)
        norm = np.linalg.svd(kernel, compute_uv=False)[0]
        np.testing.assert_allclose(result.lipschitz, norm, rtol=1e-4)
