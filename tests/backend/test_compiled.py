import keras
import numpy as np

from keraslip.backend import compiled


def test_runs_on_arrays_with_the_weights_of_the_moment():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    scale = np.arange(4, dtype="float32")

    def function(x, scale):
        logits = model(x, training=False)
        return [logits, keras.ops.sum(logits, axis=-1) * scale]

    call = compiled(model, function)
    for factor in (1.0, 2.0):
        model.set_weights([factor * np.ones((5, 3)), np.ones(3)])
        logits, sums = call(x, scale)
        expected = factor * x.sum(axis=1, keepdims=True) + np.ones((1, 3))
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        np.testing.assert_allclose(sums, expected.sum(axis=1) * scale, atol=1e-4)
        assert isinstance(logits, np.ndarray)
