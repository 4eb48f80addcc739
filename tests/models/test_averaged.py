"""Averaged weights (`use_ema`): Keras' averages within their constraints; looking at them changes nothing."""

import keras
import numpy as np

from keraslip.models.averaged import averaged
from tests.models.nets import SAMPLES, compiled, dense_net, samples

MOMENTUM = 0.5


def kernel(model):
    return model.get_layer("first").get_weights()[0].copy()


class Watch(keras.callbacks.Callback):
    """Notes the weights after every step, and looks at the averages after every epoch."""

    def __init__(self):
        super().__init__()
        self.steps, self.averages = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(kernel(self.model))

    def on_epoch_end(self, epoch, logs=None):
        before = self.model.get_weights()
        # Keras averages thresholds before they are cut at 0.
        (theta,) = (v for v in self.model.optimizer.variables if "theta_average" in v.path)
        theta.assign(-keras.ops.ones(theta.shape))
        with averaged(self.model):
            self.averages.append(kernel(self.model))
            assert not self.model.get_layer("clip").get_weights()[0].any()
        for a, b in zip(before, self.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_averages_stand_in_for_the_weights_within_their_constraints():
    keras.utils.set_random_seed(0)
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=MOMENTUM)
    model, watch, (x, y) = compiled(dense_net(), optimizer), Watch(), samples()
    model.fit(x, y, epochs=2, batch_size=SAMPLES // 2, verbose=0, callbacks=[watch])
    mean = watch.steps[0]
    for reached in watch.steps[1:]:
        mean = MOMENTUM * mean + (1 - MOMENTUM) * reached
    assert len(watch.steps) == 4 and not np.allclose(mean, watch.steps[-1], atol=1e-3)
    # At the end of fit the model has them for good.
    for found in (watch.averages[-1], kernel(model)):
        np.testing.assert_allclose(found, mean, atol=1e-6)
    assert not model.get_layer("clip").get_weights()[0].any()
