"""What `fit` needs to know of the run: where it stands, and whether it is stuck."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keraslip.backend.structure import logits_of
from keraslip.losses import BCPLoss, GloRoLoss, TradesLoss
from keraslip.schedules.schedule import PiecewiseLinear

#: Steps of a run from which on it should have learned to tell classes apart, and images it is asked.
_STEPS, _SAMPLES = 16, 128
#: What each loss can be told beside; the default has nothing.
_GLORO = "or the loss keraslip.losses.GloRoLoss()"
_LOSSES = (
    (GloRoLoss, ""),
    (BCPLoss, f"a kappa with an end value above 0, {_GLORO}"),
    (TradesLoss, f"a smaller beta, {_GLORO}"),
)


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


class TrainingWarning(UserWarning):
    """A run that does not learn."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem


class StuckWarning(keras.callbacks.Callback):
    """Warns, once, when training sits at the loss of guessing, or ends with one class for every image.

    Guessing K classes has the loss log(K). The warning comes after so many epochs (patience) at that loss,
    with a clean accuracy near guessing that does not rise; images of several classes are looked at when the
    run is over.
    """

    def __init__(self, classes: int, patience: int = 3, sample: np.ndarray | None = None) -> None:
        super().__init__()
        # Guessing costs log(K), and log(K + 1) with the "not certified" class of GloRo's loss.
        self.guesses = (math.log(classes), math.log(classes + 1))
        self.chance = 1.0 / classes
        #: Between guessing and being right, nearer to guessing.
        self.low = self.chance + 0.25 * (1.0 - self.chance)
        self.patience = patience
        self.sample = sample
        self._accuracies: list[float] = []
        self._last: dict[str, Any] = {}
        self._warned = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._last = logs = logs or {}
        loss, certified = logs.get("loss", 0.0), logs.get("certified_accuracy", 1.0)
        guessing = any(abs(loss - guess) < 0.02 * guess for guess in self.guesses)
        accuracy = logs.get("accuracy", self.chance)
        # A constant network is certified on one class.
        if not (guessing and certified <= self.chance and accuracy < self.low):
            self._accuracies = []
            return
        self._accuracies.append(accuracy)
        recent = self._accuracies[-self.patience :]
        if len(recent) == self.patience and recent[-1] < recent[0] + 0.02:
            self._warn(
                f"Training is stuck: for {self.patience} epochs the loss has been {loss:.3f}, that of "
                f"guessing (log of the number of classes = {self.guesses[0]:.3f}), and almost no sample is "
                "certified."
            )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        accuracy = self._last.get("val_accuracy", self._last.get("accuracy", self.chance))
        short = (self.params.get("steps") or _STEPS) * self.params["epochs"] < _STEPS
        if self.sample is None or self._warned or short or accuracy >= self.low:
            return
        logits = logits_of(self.model, keras.ops.convert_to_tensor(self.sample))
        predicted = np.unique(keras.ops.convert_to_numpy(logits).argmax(axis=-1))
        if len(predicted) == 1:
            self._warn(
                f"Nothing was learned: of {len(self.sample)} images of several classes, all are predicted "
                f"as class {predicted[0]}."
            )

    def _warn(self, problem: str) -> None:
        if not self._warned:
            self._warned = True
            problem = " ".join([problem, *ramp(self.model, self.params or {})])
            warnings.warn(TrainingWarning(problem, remedies(self.model)), stacklevel=2)


def sample_of(*data: Any) -> np.ndarray | None:
    """Images of several classes, spread over the first of some data that are arrays; `None` if none are."""
    for pair in data:
        if isinstance(pair, Sequence) and all(isinstance(part, np.ndarray) for part in pair[:2]):
            x, y = pair[0], pair[1]
            rows = np.unique(np.linspace(0, len(x) - 1, _SAMPLES).astype(int))
            label = y[rows].argmax(axis=-1) if y.ndim == 2 and y.shape[1] > 1 else y[rows]
            if len(np.unique(label)) > 1:
                return np.asarray(x[rows], dtype="float32")
    return None


def with_own(model: Any, callbacks: Any, own: list[keras.callbacks.Callback], epochs: int) -> Any:
    """The user's callbacks after our own."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        # Keras gives a list of its own type neither.
        for callback in own:
            callback.set_model(model)
            callback.set_params({"epochs": epochs, "steps": None, **(callbacks.params or {})})
        callbacks.callbacks[:0] = own
        return callbacks
    listed = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    return own + [callback for callback in listed if callback is not None]


def ramp(model: Any, params: dict[str, Any]) -> list[str]:
    """A sentence on how epsilon rises in a run; none for schedules whose course is not known."""
    schedule = getattr(model, "train_epsilon", None)
    if not isinstance(schedule, PiecewiseLinear) or "epochs" not in params:
        return []
    begin, until = schedule.positions[0], schedule.positions[-1]
    if begin == until:
        return [f"Epsilon is {schedule.values[0]:.4g} from the first step on."]
    epochs = params["epochs"]
    return [
        f"Epsilon rises from {schedule.values[0]:.4g} to {schedule.values[-1]:.4g} over {until - begin:.0%} "
        f"of the run: {(until - begin) * epochs:.3g} of {epochs} epochs."
    ]


def remedies(model: Any) -> str:
    """What to change, in the words of a program: nothing that is so already."""
    changes = ["a smaller epsilon", "a longer run"]
    positions = getattr(getattr(model, "train_epsilon", None), "positions", [0.0, 0.5])
    loss = getattr(model, "robust_loss", None)
    if getattr(loss, "ramps", True) and (positions[-1] < 1.0 or len(positions) == 1):
        until = 0.8 if positions[-1] < 0.8 else 1.0
        changes.append(
            f"a slower ramp (train_epsilon=keraslip.schedules.LinearRamp(0, 1.1 * epsilon, until={until}))"
        )
    changes.append("a smaller learning rate")
    other = next((text for kind, text in _LOSSES if isinstance(loss, kind)), _GLORO)
    return f"Start again with {', '.join([*changes, other] if other else changes)}."
