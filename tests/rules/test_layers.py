"""Layers in both data formats, tight row norms, and a linear net, which is bounded exactly."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from tests.harness import bound, model_of, run_rule_test

IMAGE, FLAT = (6, 5, 2), (7,)


def theta(x, value=0.6):
    return keraslip.layers.ClippedReLU(value)(x)


def conv(filters=4, size=3, **kwargs):
    return keraslip.layers.MaskedLipschitzConv2D(filters, size, **kwargs)


def dense(units=10, **kwargs):
    return keraslip.layers.MaskedLipschitzDense(units, **kwargs)


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
