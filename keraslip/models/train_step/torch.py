"""The certified training step on PyTorch."""

from typing import Any

import keras
import torch

from keraslip.models.robust_step import robust_step, track


class RobustTrainStep:
    """Overrides `train_step` and `test_step` of `keras.Model`."""

    def train_step(self: Any, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        loss, outcome = robust_step(self, x, y, sample_weight, training=True)
        self.optimizer.scale_loss(loss).backward()
        variables = self.trainable_weights[:]
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in variables], variables)
            return track(self, x, y, sample_weight, loss, outcome)

    def test_step(self: Any, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        loss, outcome = robust_step(self, x, y, sample_weight, training=False)
        return track(self, x, y, sample_weight, loss, outcome)
