"""The certified training step on JAX: all variables pass through one stateless scope."""

from typing import Any

import jax
import keras

from keraslip.models.robust_step import robust_step, track


class RobustTrainStep:
    """Overrides `train_step` and `test_step` of `keras.Model`."""

    def _pass(self: Any, variables: list[tuple[Any, list]], data: Any, training: bool) -> Any:
        """Loss, and as aux the logs and the new values of every group of variables but the first."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        mapping = [pair for owned, values in variables for pair in zip(owned, values, strict=True)]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            loss, outcome = robust_step(self, x, y, sample_weight, training)
            logs = track(self, x, y, sample_weight, loss, outcome)
            scaled = self.optimizer.scale_loss(loss) if training else loss
        new = [[scope.get_current_value(v) for v in owned] for owned, _ in variables[1:3]]
        return scaled, (logs, *new)

    def train_step(self: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
        trainable, fixed, optimizer, metrics = state

        def loss_of(values: list) -> Any:
            groups = [
                (self.trainable_variables, values),
                (self.non_trainable_variables, fixed),
                (self.metrics_variables, metrics),
                (self.optimizer.variables, optimizer),
            ]
            return self._pass(groups, data, training=True)

        (_, (logs, fixed_, metrics_)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            trainable
        )
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return logs, (trainable, fixed_, optimizer, metrics_)

    def test_step(self: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
        trainable, fixed, metrics = state
        groups = [
            (self.trainable_variables, trainable),
            (self.non_trainable_variables, fixed),
            (self.metrics_variables, metrics),
        ]
        _, (logs, fixed, metrics) = self._pass(groups, data, training=False)
        return logs, (trainable, fixed, metrics)
