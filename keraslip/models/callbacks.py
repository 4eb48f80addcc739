"""What `fit` needs to know of the run: where it stands, and whether it is stuck."""

import math
import warnings
from typing import Any

import keras


class RunProgress(keras.callbacks.Callback):
    """Puts the model's run state at the epoch that begins.

    Progress is (epoch * steps + steps done) / (epochs * steps); where the number of steps is not known,
    progress is counted in epochs.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        epochs, steps = self.params["epochs"], self.params["steps"]
        if steps is None or steps < 1:
            self.model.run_state.set(epoch, epochs, 0)
        else:
            self.model.run_state.set(epoch * steps, epochs * steps, 1)


class StuckWarning(keras.callbacks.Callback):
    """Warns, once, when training sits at the loss of guessing.

    Args:
        classes: Number of classes K; guessing has the loss log(K).
        patience: Epochs at that loss before the warning.
    """

    def __init__(self, classes: int, patience: int = 3) -> None:
        super().__init__()
        # Guessing costs log(K), and log(K + 1) with the "not certified" class of GloRo's loss.
        self.guesses = (math.log(classes), math.log(classes + 1))
        self.chance = 1.0 / classes
        self.patience = patience
        self._epochs = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        loss, certified = logs.get("loss", 0.0), logs.get("certified_accuracy", 1.0)
        guessing = any(abs(loss - guess) < 0.02 * guess for guess in self.guesses)
        stuck = guessing and certified < self.chance
        self._epochs = self._epochs + 1 if stuck else 0
        if self._epochs == self.patience:
            warnings.warn(
                f"Training is stuck: for {self.patience} epochs the loss has been {loss:.3f}, that of "
                f"guessing (log of the number of classes = {self.guesses[0]:.3f}), and almost no sample is "
                "certified. The bound grew faster than the network could follow. Start again with a "
                "smaller epsilon, a longer run, a slower ramp "
                "(train_epsilon=keraslip.schedules.LinearRamp(0, 1.1 * epsilon, until=0.8)), "
                "a smaller learning rate, or another loss (keraslip.losses.GloRoLoss, the default, or "
                "BCPLoss(kappa=...) with an end value above 0).",
                stacklevel=2,
            )
