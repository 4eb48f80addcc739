"""The certified training step on PyTorch."""

from typing import Any

import keras
import torch

from keraslip.models.robust_step import robust_step, track
from keraslip.models.state import moving_statistics
from keraslip.models.train_step.torch_processes import Processes


class RobustTrainStep:
    """Overrides `train_step` and `test_step` of `keras.Model`."""

    _processes: Processes | None = None

    def train_step(self: Any, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        loss, outcome = robust_step(self, x, y, sample_weight, training=True)
        self.optimizer.scale_loss(loss).backward()
        variables = self.trainable_weights[:]
        with torch.no_grad():
            gradients = self._averaged([v.value.grad for v in variables], len(outcome.logits))
            self.optimizer.apply(gradients, variables)
            return track(self, x, y, sample_weight, loss, outcome)

    def test_step(self: Any, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        loss, outcome = robust_step(self, x, y, sample_weight, training=False)
        return track(self, x, y, sample_weight, loss, outcome)

    def data_parallel(self: Any) -> None:
        """See `keraslip.distribution.data_parallel`."""
        self._processes = Processes(self)

    def _averaged(self: Any, gradients: list[Any], samples: int) -> list[Any]:
        """Gradients, warm starts and moving statistics as means over all processes."""
        if self._processes is None:
            return gradients
        starts = [*self.warm_starts.vectors, *moving_statistics(self)]
        values = [start.value.detach() for start in starts]
        means = self._processes.average([*gradients, *values], samples)
        for start, mean in zip(starts, means[len(gradients) :], strict=True):
            start.assign(mean)
        return means[: len(gradients)]

    def _get_metrics_result_or_logs(self: Any, logs: Any) -> Any:
        # Keras calls it once, at the end of an epoch and of `evaluate`.
        if self._processes is not None:
            self._processes.add_up(self.metrics_variables)
        return super()._get_metrics_result_or_logs(logs)  # type: ignore[misc]
