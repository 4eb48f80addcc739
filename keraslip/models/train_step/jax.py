"""The certified training step on JAX: all variables pass through one stateless scope."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
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

    def data_parallel(self: Any) -> None:
        """See `keraslip.distribution.data_parallel`."""
        raise NotImplementedError(
            "On JAX call keras.distribution.set_distribution(keras.distribution.DataParallel()) before the "
            "model is built; fit then uses all devices. Received: data_parallel(model)"
        )

    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(keras.Model.fit).bind(self, *args, **kwargs).arguments
        size, held_out = given.get("batch_size"), given.get("validation_data")
        _check_last_batch(given.get("x"), size)
        if isinstance(held_out, tuple | list):
            _check_last_batch(held_out[0], given.get("validation_batch_size") or size)
        with _even_batches():
            return super().fit(*args, **kwargs)  # type: ignore[misc]

    def evaluate(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("_use_cached_eval_dataset"):
            given = inspect.signature(keras.Model.evaluate).bind(self, *args, **kwargs).arguments
            _check_last_batch(given.get("x"), given.get("batch_size"))
        with _even_batches():
            return super().evaluate(*args, **kwargs)  # type: ignore[misc]


_UNEVEN = (
    "JAX splits every batch into equal parts, one for each device, the last batch of an epoch included: "
    "choose a batch_size that the number of devices divides, leave out the last batch of training data "
    "(keraslip.datasets.ShuffledBatches(..., drop_remainder=True)), and evaluate a number of samples that "
    "the number of devices divides. Received: {}"
)


def _check_last_batch(x: Any, batch_size: int | None) -> None:
    """Says before the first epoch, rather than at its end, that arrays leave an uneven batch over."""
    distribution = keras.distribution.distribution()
    if distribution is None or not hasattr(x, "shape"):
        return
    size = batch_size or 32
    for rows in {min(size, len(x)), len(x) % size} - {0}:
        sharding = distribution.get_data_layout((rows, *x.shape[1:])).backend_layout
        try:
            sharding.shard_shape((rows, *x.shape[1:]))
        except ValueError:
            raise ValueError(_UNEVEN.format(f"a batch of {rows} samples")) from None


@contextmanager
def _even_batches() -> Iterator[None]:
    """Names the remedy where a stream yields a batch that the devices cannot share."""
    try:
        yield
    except ValueError as error:
        uneven = "evenly divide" in str(error) or "divisible" in str(error)
        if keras.distribution.distribution() is None or not uneven:
            raise
        raise ValueError(_UNEVEN.format(str(error).splitlines()[0])) from error
