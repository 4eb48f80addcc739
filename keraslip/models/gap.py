"""How far the bound that a training step believes is below the converged one."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.backend.calls import compiled_once
from keraslip.models.callbacks import TrainingWarning
from keraslip.models.robust_step import bound_pass, step_pass
from keraslip.models.state import RefreshedStarts
from keraslip.rules import Propagation
from keraslip.schedules import at_progress, current

#: Images that are looked at, and iterations that count as converged.
_SAMPLES, _CONVERGED = 16, 48
#: Steps of a run that begin with norms that have converged: in these Adam turns whole layers.
_EARLY = 32
#: A bound that is believed this much too small is worth a warning.
_TOLERATED = 1.05


class LipschitzGap(keras.callbacks.Callback):
    """Adds `lipschitz_gap` to the logs of every epoch: converged bound over believed bound.

    Both are taken of the same few images, with the weights at the end of the epoch and at its epsilon. The
    warm starts of a run that `begins`, and does not go on from a checkpoint, are brought to the norms of the
    weights that each of its first steps finds: there these change faster than warm starts follow.
    """

    def __init__(self, x: np.ndarray, begins: bool) -> None:
        super().__init__()
        self.x = np.asarray(x[:_SAMPLES], dtype="float32")
        self.begins = begins
        self._warned = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Warms the starts of the norms up."""
        self._warm_up(0)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Warms them up again, in the first steps of the first epoch."""
        if batch:
            self._warm_up(batch)

    def _warm_up(self, step: int) -> None:
        if self.begins and step < _EARLY:
            _, *vectors = self._measured(_converged)
            for weight, vector in zip(self.model.warm_starts.vectors, vectors, strict=True):
                weight.assign(vector)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the gap."""
        self.begins = False
        (believed,), (converged, *_) = self._measured(_believed), self._measured(_converged)
        # Both are approached from below; a bound of zero is one without a gap.
        largest, trusted = float(np.maximum(believed, converged).mean()), float(believed.mean())
        gap = largest / trusted if trusted else float("inf" if largest else 1.0)
        if logs is not None:
            logs["lipschitz_gap"] = gap
        if gap > _TOLERATED and not self._warned:
            self._warned = True
            count = self.model.power_iterations
            problem = (
                f"The Lipschitz bound that training believes is {1 - 1 / gap:.0%} too small (lipschitz_gap "
                f"{gap:.2f} after epoch {epoch + 1}): its norms have not converged, and the network learns "
                "to live in the gap."
            )
            remedy = (
                f"Compile with more iterations (power_iterations={2 * count} instead of {count}), or train "
                "with a smaller learning rate."
            )
            warnings.warn(TrainingWarning(problem, remedy), stacklevel=2)

    def _measured(self, bound: Callable[..., list[Any]]) -> list[np.ndarray]:
        """What a function of model, images and epsilon gives, compiled once."""
        # `self.model`, not a reference of our own: on JAX it brings the weights back first.
        model = self.model
        with at_progress(model.run_state.progress()):
            epsilon = np.float32(ops.convert_to_numpy(current(model.train_epsilon)))
        key = ("gap", bound.__name__, model.bound, model.locality, model.power_iterations)
        return list(compiled_once(model, key, partial(bound, model))(self.x, epsilon))


def _believed(model: Any, x: Any, epsilon: Any) -> list[Any]:
    """The bounds that a training step believes, `(n,)`."""
    return [bound_pass(model, x, None, step_pass(model, epsilon)).lipschitz]


def _converged(model: Any, x: Any, epsilon: Any) -> list[Any]:
    """Converged bounds `(n,)`, and the vectors that belong to their norms."""
    starts = RefreshedStarts(model.warm_starts)
    context = Propagation(
        epsilon, starts, model.bound, _CONVERGED, locality=model.locality, learning=True
    )
    bounds = bound_pass(model, x, None, context).lipschitz
    return [bounds, *model.warm_starts.all(context.next_starts)]
