"""A search space around a builder of models."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_tuner

from keraslip import losses
from keraslip.checks import check_epsilon
from keraslip.models import LocalLipschitzModel
from keraslip.models.options import usual_schedule
from keraslip.schedules import LinearRamp
from keraslip.tuning.space import BUILDER, builder_names, check_names, checked_space, choose

#: The arguments of `compile` that hyperparameters decide.
_DECIDED = {
    "learning_rate": "optimizer",
    "loss": "loss",
    "sparsity": "sparsity",
    "epsilon_factor": "train_epsilon",
}


def certified_objective() -> keras_tuner.Objective:
    """What a search maximises: certified accuracy on the validation data, at the compiled epsilon."""
    return keras_tuner.Objective("val_certified_accuracy", "max")


class LipschitzHyperModel(keras_tuner.HyperModel):
    """A `keras_tuner.HyperModel` over thresholds, width and the training of a `LocalLipschitzModel`.

    | hyperparameter | usual range | meaning |
    |---|---|---|
    | `threshold` | 0.25 to 4 | the builder's argument; likewise the next three |
    | `upper_threshold` | 0.1 to 2 | |
    | `lower_threshold` | -2 to -0.1 | |
    | `width` | 0.5 or 1 | |
    | `loss` | `"gloro"` or `"bcp"` | any of `keraslip.losses.names()` |
    | `kappa` | 0 to 0.5 | weight of the clean loss at the end, with `"bcp"` only |
    | `sparsity` | 0, 0.001 or 0.01 | weight of the sparsity loss |
    | `epsilon_factor` | 1 to 1.3 | epsilon at the end of training, as a multiple of `epsilon` |
    | `learning_rate` | 0.0003 to 0.01 | the optimizer's |

    Each is changed by an argument of its name: a tuple `(low, high)` is a range (on a logarithmic scale
    where the ends are positive and a factor of 10 apart), a list holds choices, a number or string is
    fixed, and `None` leaves it out: the builder's or `compile`'s own default holds.

    Args:
        builder: An application, or a function that returns a `LocalLipschitzModel`. It is passed
            the hyperparameters its signature names and nothing else. Fix its other arguments, and
            the `activation` that says which thresholds there are, with `functools.partial`.
        epsilon: L2 radius to certify, in raw input units.
        optimizer: Function from learning rate to optimizer.
        compile_options: Further arguments of `LocalLipschitzModel.compile`.
        seed: If given, every trial starts from it.
        name: As for `keras_tuner.HyperModel`.
        tunable: As for `keras_tuner.HyperModel`.
        **space: What is searched, by the names above.

    Raises:
        ValueError: if a hyperparameter is unknown or out of range, the builder does not take it, or
            the builder needs arguments that are no hyperparameters.

    Example:

    ```python
    builder = functools.partial(keraslip.applications.Digits2C2F, activation="clipped_maxmin")
    hypermodel = keraslip.tuning.LipschitzHyperModel(
        builder, epsilon=0.25, width=[0.5, 1.0, 2.0], loss="bcp", kappa=(0.0, 0.3), sparsity=None
    )
    tuner = keras_tuner.RandomSearch(
        hypermodel, keraslip.tuning.certified_objective(), max_trials=20, directory="search"
    )
    tuner.search(x, y, epochs=20, batch_size=64, validation_data=(x_val, y_val))
    ```
    """

    def __init__(
        self,
        builder: Callable[..., LocalLipschitzModel],
        epsilon: float,
        optimizer: Callable[[float], Any] = keras.optimizers.Adam,
        compile_options: Mapping[str, Any] | None = None,
        seed: int | None = None,
        name: str | None = None,
        tunable: bool = True,
        **space: Any,
    ) -> None:
        super().__init__(name=name, tunable=tunable)
        self.builder = builder
        if isinstance(epsilon, tuple | list):
            check_names({"epsilon": epsilon})
        self.epsilon = check_epsilon(epsilon)
        self.optimizer = optimizer
        self.compile_options = dict(compile_options or {})
        self.seed = seed
        self.space = checked_space(space, builder_names(builder))
        decided = {"epsilon": "epsilon", **_DECIDED}
        clash = [n for n in decided if decided[n] in self.compile_options]
        if clash := [n for n in clash if n == "epsilon" or n in self.space]:
            raise ValueError(
                "compile_options cannot hold what the search decides; leave the hyperparameter out with "
                f"None. Received: {', '.join(f'{decided[n]}, decided by {n}' for n in clash)}"
            )

    def build(self, hp: keras_tuner.HyperParameters) -> LocalLipschitzModel:
        """The compiled model of a trial; called by keras-tuner."""
        # Fixed: every trial's record says what it was certified for.
        recorded = float(hp.Fixed("epsilon", self.epsilon))
        if recorded != self.epsilon:
            raise keras_tuner.errors.FatalValueError(
                "The search in this folder certifies another radius; go on with the same epsilon, or begin "
                f"in another directory. Received: epsilon={self.epsilon}, the search has {recorded}"
            )
        if self.seed is not None:
            keras.utils.set_random_seed(self.seed)
        chosen = {n: choose(hp, n, spec) for n, spec in self.space.items() if n in BUILDER}
        model = self.builder(**chosen)
        if not isinstance(model, LocalLipschitzModel):
            raise keras_tuner.errors.FatalTypeError(
                f"The builder must return a keraslip.LocalLipschitzModel. Received: {model!r}"
            )
        model.compile(**self._training(hp))
        # Hyperband loads a checkpoint here, with the optimizer's state if there is a place for it.
        model.optimizer.build(model.trainable_variables)
        return model

    def _training(self, hp: keras_tuner.HyperParameters) -> dict[str, Any]:
        options: dict[str, Any] = {"epsilon": self.epsilon}
        if "learning_rate" in self.space:
            options["optimizer"] = self.optimizer(self._choose(hp, "learning_rate"))
        if "loss" in self.space:
            options["loss"] = self._loss(hp)
        if "sparsity" in self.space:
            options["sparsity"] = self._choose(hp, "sparsity")
        if "epsilon_factor" in self.space:
            factor = self._choose(hp, "epsilon_factor")
            loss = losses.get(options.get("loss", self.compile_options.get("loss")))
            options["train_epsilon"] = usual_schedule(loss, factor * self.epsilon)
        return {**self.compile_options, **options}

    def _loss(self, hp: keras_tuner.HyperParameters) -> Any:
        name = self._choose(hp, "loss")
        kappa = None
        if "kappa" in self.space:
            with hp.conditional_scope("loss", ["bcp"]):
                kappa = self._choose(hp, "kappa")
        return losses.get(name) if kappa is None else losses.BCPLoss(LinearRamp(1.0, kappa))

    def _choose(self, hp: keras_tuner.HyperParameters, name: str) -> Any:
        return choose(hp, name, self.space[name])

    def fit(
        self, hp: keras_tuner.HyperParameters, model: LocalLipschitzModel, *args: Any, **kwargs: Any
    ) -> keras.callbacks.History:
        """Trains the model of a trial; called by keras-tuner with the arguments of its `search`."""
        if kwargs.get("validation_data") is None and not kwargs.get("validation_split"):
            raise keras_tuner.errors.FatalValueError(
                "A search compares trials on validation data, never on test data: pass "
                "validation_data=(x_val, y_val) to search. Received: no validation_data"
            )
        data = args[0] if args else kwargs.get("x")
        if (set_epoch := getattr(data, "set_epoch", None)) is not None:
            # Batches that count epochs: every trial sees the same ones.
            set_epoch(kwargs.get("initial_epoch", 0))
        return model.fit(*args, **kwargs)
