"""Bare operations that Keras has a shape for, and cannot compute, or computes as each backend likes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip


def logits(build, shape=(6, 4, 2)):
    inputs = keras.Input(shape)
    return keraslip.LocalLipschitzModel(inputs, layers.Dense(3)(layers.Flatten()(build(inputs))))


@pytest.mark.parametrize("places", [[0, 6], [-7, 0]])
def test_places_that_are_not_there_are_refused_in_a_sentence(places):
    model = logits(lambda x: ops.take(x, places, axis=1))
    message = f"an axis of size 6 does not have.*from {places[0]} to {places[1]}"
    with pytest.raises(NotImplementedError, match=message) as refused:
        model.compile("adam", epsilon=0.1)
    assert "automatically infer" not in str(refused.value)
    assert not keraslip.check_model(model)


AROUND = ((0, 0), (1, 1), (1, 1), (0, 0))


@pytest.mark.parametrize(
    "build",
    [
        lambda x: ops.pad(x, AROUND, mode="edge"),
        lambda x: ops.pad(x, AROUND, mode="wrap"),
        lambda x: ops.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1)), mode="reflect"),
        lambda x: x[:, ::-1],
    ],
    ids=["edge", "wrap", "channels", "reversed"],
)
def test_what_keras_cannot_compute_here_is_told_before(build):
    """On PyTorch; where it runs it is bounded."""
    model = logits(build)
    x = np.random.default_rng(0).uniform(size=(2, 6, 4, 2)).astype("float32")
    try:
        model.predict(x, verbose=0)
    except Exception:
        assert not keraslip.check_model(model)
        with pytest.raises(
            NotImplementedError, match=r"cannot compute \w+ at .* It said: .*"
        ) as no:
            model.compile("adam", epsilon=0.1)
        assert "\n" not in str(no.value)
    else:
        assert keraslip.check_model(model)
        model.compile("adam", epsilon=0.1)
