"""Where the bound stands after every epoch, for TensorBoard and as CSV."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keraslip.callbacks.csv_table import CsvTable
from keraslip.callbacks.event_file import EventFile, require_tensorboard
from keraslip.callbacks.probe import Probe
from keraslip.checks import check_count, check_epsilon, check_images, check_labels
from keraslip.typing import FilePath


class LipschitzMonitor(keras.callbacks.Callback):
    """Writes the norms of every layer and the radii of some validation images after each epoch.

    On the same few images, with the weights at the end of the epoch and at one epsilon, it measures

    - `local_norm_estimate/LAYER` and `global_norm_estimate/LAYER`, as `LocalLipschitzModel.explain` does;
    - `varying/LAYER`, the share of its units that may vary;
    - `radius_estimate/histogram` and `radius_estimate/quantile_Q`: the largest radius, up to four times
      epsilon, at which an image seems certified; 0 for a wrong prediction.

    Norms and radii come from power iterations: estimates for curves, no certificates. The figures go to
    `log_dir/monitor.csv`, and for TensorBoard to `log_dir/lipschitz`, together with the logs of `fit` as
    `fit/NAME`. A run that goes on with `initial_epoch` goes on in the same files.

    Args:
        log_dir: Folder for the files; `keras.callbacks.TensorBoard` may use the same.
        x: Inputs `(n, *shape)` of VALIDATION data; the first ones are used.
        y: Their class indices `(n,)` or one-hot; the predicted classes if `None`.
        epsilon: L2 radius in raw input units; the compiled one if `None`.
        samples: How many of `x` to measure.
        power_iterations: Iterations for each norm.
        every: Measure after every so many epochs.
        tensorboard: Whether to write for TensorBoard; it needs the extra `tensorboard`, and not TensorFlow.

    Raises:
        ImportError: if the `tensorboard` package is missing.
        ValueError: if an argument is out of range, or the model has no bound.

    Example:

    ```python
    monitor = keraslip.callbacks.LipschitzMonitor("logs", x_val, y_val)
    model.fit(x_train, y_train, epochs=30, callbacks=[monitor])
    ```
    """

    def __init__(
        self,
        log_dir: FilePath,
        x: np.ndarray,
        y: np.ndarray | None = None,
        epsilon: float | None = None,
        samples: int = 64,
        power_iterations: int = 10,
        every: int = 1,
        tensorboard: bool = True,
    ) -> None:
        super().__init__()
        samples = check_count(samples, "samples")
        if tensorboard:
            require_tensorboard()
        self.log_dir = Path(log_dir)
        self.epsilon = None if epsilon is None else check_epsilon(epsilon)
        self.power_iterations = check_count(power_iterations, "power_iterations")
        self.every = check_count(every, "every")
        self.tensorboard = tensorboard
        self._x, self._y = _checked(x, y, samples)
        self._probe: Probe | None = None
        self._table: CsvTable | None = None
        self._events: EventFile | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gets ready to measure the model."""
        from keraslip.models import LocalLipschitzModel

        model = self.model
        if not isinstance(model, LocalLipschitzModel):
            raise ValueError(
                "LipschitzMonitor needs a keraslip.LocalLipschitzModel. "
                f"Received: {type(model).__name__}"
            )
        if self._x.shape[1:] != tuple(model.inputs[0].shape[1:]):
            raise ValueError(
                f"x must have the model's input shape {tuple(model.inputs[0].shape)}. "
                f"Received: x of shape {self._x.shape}"
            )
        epsilon = model.epsilon_value if self.epsilon is None else self.epsilon
        y, classes = self._y, model.outputs[0].shape[-1]
        y = None if y is None else check_labels(y, classes).astype("int32")
        self._probe = Probe(self._x, y, epsilon, self.power_iterations)
        self._table = self._events = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Opens the files at the first epoch: only now is its number known."""
        if self._table is None:
            self._table = CsvTable(self.log_dir / "monitor.csv", epoch)
            if self.tensorboard:
                self._events = EventFile(self.log_dir / "lipschitz", epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures and writes."""
        if (epoch + 1) % self.every or self._probe is None or self._table is None:
            return
        # `self.model`, not a reference of our own: on JAX it brings the weights back first.
        scalars, radii = self._probe.measure(self.model)
        self._table.add({"epoch": epoch + 1, **scalars})
        if self._events is not None:
            fitted = {f"fit/{name}": float(value) for name, value in (logs or {}).items()}
            self._events.write(epoch, scalars | fitted, {"radius_estimate/histogram": radii})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the files."""
        if self._events is not None:
            self._events.close()
            self._events = None


def _checked(
    x: np.ndarray, y: np.ndarray | None, samples: int
) -> tuple[np.ndarray, np.ndarray | None]:
    x = np.asarray(x, "float32")[:samples]
    if x.ndim < 2 or not len(x):
        raise ValueError(f"x must hold at least one input. Received: shape {x.shape}")
    check_images(x)
    if y is None:
        return x, None
    y = np.asarray(y)[:samples]
    if len(y) != len(x):
        raise ValueError(f"x and y differ in length. Received: {len(x)} and {len(y)}")
    return x, y
