"""Training that sits at the loss of guessing says so in plain words, once."""

import math
import warnings

import keras

import keraslip
from keraslip.models.callbacks import StuckWarning
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
