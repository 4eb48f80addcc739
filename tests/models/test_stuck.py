"""Training that sits at the loss of guessing says so in plain words, once."""

import math
import warnings

import keras
import numpy as np
import pytest

import keraslip
from keraslip.datasets import ShuffledBatches
from keraslip.models.callbacks import StuckWarning, TrainingWarning, ramp, remedies
from tests.models.nets import CLASSES, compiled, dense_net, samples

GUESS = math.log(CLASSES)


def epochs(*logs, patience=3):
    """The warnings that a run with these logs gives."""
    callback = StuckWarning(CLASSES, patience=patience)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for epoch, entry in enumerate(logs):
            callback.on_epoch_end(epoch, entry)
    return [str(w.message) for w in found]


STUCK = {"loss": GUESS * 1.001, "certified_accuracy": 0.0}
LEARNS = {"loss": 0.8 * GUESS, "certified_accuracy": 0.2}


def test_three_stuck_epochs_warn_once():
    assert epochs(STUCK, STUCK) == []
    (message,) = epochs(*[STUCK] * 8)
    assert "stuck" in message and "smaller epsilon" in message and f"{GUESS:.3f}" in message


def test_a_network_that_classifies_or_improves_is_not_stuck():
    """The loss with one more class passes log(K) on its way, with most labels right."""
    assert epochs(*[{**STUCK, "accuracy": 0.73}] * 5) == []
    assert epochs(*[{**STUCK, "accuracy": 0.3 + 0.015 * i} for i in range(8)]) == []
    assert len(epochs(*[{**STUCK, "accuracy": 0.34}] * 4)) == 1
    # A constant network is certified on one class.
    assert (
        len(epochs(*[{**STUCK, "accuracy": 1 / CLASSES, "certified_accuracy": 1 / CLASSES}] * 4))
        == 1
    )


def test_a_better_epoch_starts_the_count_again():
    assert epochs(STUCK, STUCK, LEARNS, STUCK, STUCK) == []


def test_guessing_loss_with_certified_samples_is_not_stuck():
    assert epochs(*[{"loss": GUESS, "certified_accuracy": 0.9}] * 5) == []


def test_other_losses_and_missing_logs_are_not_stuck():
    assert epochs(*[{"loss": 3 * GUESS, "certified_accuracy": 0.0}] * 5) == []
    assert epochs(None, {}, None, {}) == []


def test_fit_warns_where_the_bound_outgrows_the_network():
    x, y = samples()
    model = compiled(
        dense_net(),
        keras.optimizers.SGD(0.0),
        epsilon=5.0,
        train_epsilon=5.0,
        loss=keraslip.losses.BCPLoss(kappa=1.0),
    )
    # Logits all but zero: the loss of guessing, and a bound that certifies nothing.
    model.set_weights(
        [1e-3 * w if w.ndim == 2 and w.shape[0] > 1 else w for w in model.get_weights()]
    )
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(x, y, batch_size=24, epochs=3, verbose=0)
    assert sum("Training is stuck" in str(w.message) for w in found) == 1


def frozen(kernel, bias, loss=None, **options):
    """A model that stays as it is, with such logits: of a kernel of zeros, the same for every input."""
    model = compiled(dense_net(), keras.optimizers.SGD(0.0), epsilon=0.5, loss=loss, **options)
    layer = model.get_layer("logits")
    layer.set_weights([np.full_like(layer.get_weights()[0], kernel), bias])
    return model


def warned(model, *data, **options):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(*data, verbose=0, **options)
    return [str(w.message) for w in found if issubclass(w.category, TrainingWarning)]


def test_one_class_for_every_image_is_told_at_the_end():
    x, y = samples()
    model = frozen(0.0, np.array([0.0, 5.0, 0.0]))
    (message,) = warned(model, x, y, batch_size=6, epochs=4)
    assert "all are predicted as class 1" in message and "of 24 images" in message
    assert "from 0 to 0.55 over 50% of the run: 2 of 4 epochs" in message
    # The default loss is in use: it is no remedy.
    assert "smaller epsilon" in message and "GloRoLoss" not in message
    # So few steps teach nothing; one class is no news where there is no other.
    assert warned(model, x, y, batch_size=6, epochs=3) == []
    assert warned(model, x[y == 0], y[y == 0], batch_size=1, epochs=4) == []
    # Of a stream the validation images are looked at.
    batches = ShuffledBatches(x, y, 6)
    found = warned(model, batches, epochs=4, shuffle=False, validation_data=(x, y))
    assert len(found) == 1
    assert warned(model, batches, epochs=4, shuffle=False) == []


@pytest.mark.any_backend("decided in NumPy; the test above looks at predictions of every backend")
def test_wrong_labels_of_several_classes_are_not_one_class():
    x, _ = samples()
    model = compiled(dense_net(), keras.optimizers.SGD(0.0))
    layer = model.get_layer("logits")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias - model.predict(x, verbose=0).mean(axis=0)])
    predicted = model.predict(x, verbose=0).argmax(axis=1)
    assert len(np.unique(predicted)) > 1
    assert warned(model, x, (predicted + 1) % CLASSES, batch_size=6, epochs=4) == []


@pytest.mark.parametrize(
    "loss, words",
    [
        (keraslip.losses.BCPLoss(), ["kappa", "GloRoLoss"]),
        (keraslip.losses.TradesLoss(), ["beta", "GloRoLoss"]),
    ],
)
def test_remedies_are_of_the_loss_in_use(loss, words):
    model = frozen(0.0, np.zeros(CLASSES), loss=loss, train_epsilon=0.5)
    said = remedies(model)
    assert all(word in said for word in words)
    assert ramp(model, {"epochs": 4}) == ["Epsilon is 0.5 from the first step on."]
