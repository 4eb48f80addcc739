"""The main job: a Keras model that trains and reports its own robustness."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keraslip.backend import place_among_processes
from keraslip.input_range import tell_outside, tell_wide
from keraslip.losses import RobustLoss
from keraslip.models.averaged import averages, own_values
from keraslip.models.batches import Batches
from keraslip.models.callbacks import RunProgress, StuckWarning, sample_of, with_own
from keraslip.models.certification import Certification
from keraslip.models.data import check_data, check_validation
from keraslip.models.estimate import Estimation
from keraslip.models.fresh import FreshFunctions
from keraslip.models.gap import LipschitzGap
from keraslip.models.labels import InvalidLabels, metric_form
from keraslip.models.options import POWER_ITERATIONS, checked_options
from keraslip.models.saving import Saving, check_checkpoints, guard_hdf5
from keraslip.models.state import RunState, WarmStarts
from keraslip.models.train_step import RobustTrainStep
from keraslip.rules.bounded import check_bounded
from keraslip.rules.derived import settle
from keraslip.rules.fused import build_fused
from keraslip.rules.kept import forget
from keraslip.rules.locality import Locality
from keraslip.schedules import Schedule


@keras.saving.register_keras_serializable(package="keraslip")
class LocalLipschitzModel(
    Saving, Certification, Estimation, FreshFunctions, Batches, RobustTrainStep, keras.Model
):
    """A functional Keras model trained against its own local Lipschitz bound.

    It is built, fitted, evaluated and saved as every Keras model. Each training step propagates, with the
    forward pass, a ball of radius epsilon around every input, and the loss sees the worst-case logits in it.

    Args:
        inputs: The `keras.Input`.
        outputs: Logits `(batch, classes)`, from a linear layer.
        name: Name of the model.
        **kwargs: Arguments of `keras.Model`.

    Example:

    ```python
    inputs = keras.Input((28, 28, 1))
    x = keraslip.layers.MaskedLipschitzConv2D(32, 3, padding="same")(inputs)
    x = keraslip.layers.ClippedReLU(threshold=1.0)(x)
    x = keras.layers.Flatten()(x)
    outputs = keraslip.layers.MaskedLipschitzDense(10)(x)
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    model.compile("adam", epsilon=1.58)
    model.fit(x_train, y_train, epochs=30, validation_data=(x_val, y_val))
    ```

    Reference:

    - Huang, Zhang, Shi, Kolter, Anandkumar, 2021, arXiv 2111.01395.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)
        guard_hdf5()
        build_fused(self)
        self.run_state = RunState(self)
        self.warm_starts = WarmStarts(self)
        self.certified_tracker = keras.metrics.Mean(name="certified_accuracy")
        self.lipschitz_tracker = keras.metrics.Mean(name="lipschitz")
        self.epsilon_tracker = keras.metrics.Mean(name="epsilon")
        self.varying_tracker = keras.metrics.Mean(name="varying")
        self.invalid_labels = InvalidLabels()
        self._label_form = None
        #: Range of valid inputs, for attacks; `None` is unbounded.
        self.input_range: tuple[float, float] | None = (0.0, 1.0)
        self.bound = "local"
        self.power_iterations = POWER_ITERATIONS
        self.local: Any = "auto"
        self.locality = Locality.chosen("auto", self.warm_starts.closings)
        self.sparsity = 0.0

    def compile(
        self,
        optimizer: Any = "adam",
        epsilon: float | None = None,
        loss: RobustLoss | str | None = None,
        metrics: Sequence[Any] | None = ("accuracy",),
        train_epsilon: Schedule | float | None = None,
        sparsity: float = 0.0,
        power_iterations: int = POWER_ITERATIONS,
        bound: str | None = None,
        input_range: tuple[float, float] | None = (0.0, 1.0),
        local: Any = "auto",
        **kwargs: Any,
    ) -> None:
        """Configures certified training.

        Args:
            optimizer: As for `keras.Model.compile`.
            epsilon: L2 radius to certify, in raw input units; a number >= 0.
            loss: A loss on `(y, (logits, worst-case logits))`, or what `keraslip.losses.get` takes; default
                `"gloro"`.
            metrics: Metrics on the clean logits.
            train_epsilon: Epsilon while training, a number or schedule. Default: from 0 to
                `1.1 * epsilon` over the first half of the run; with a loss whose `ramps` is false at
                once.
            sparsity: Weight of the paper's sparsity loss; the paper uses 0 and 0.01.
            power_iterations: Iterations for each sample's norms in a step, from the warm-start vectors;
                norms without masks take a fifth more.
            bound: What training bounds: `"global"` (one norm of each layer for all samples: the default, for
                it certifies more after equal time), `"local"` (the default where `local` or `sparsity` is
                given) or `"paper"` (the published algorithm, for ablations). `certify` proves with local
                norms, whatever was trained.
            input_range: Smallest and largest valid input, for attacks; `None` if unbounded.
            local: Which norms leave constant units out, with `bound="local"`: `"auto"` (default, those of
                dense layers), `"dense"`, `"all"` (convolutions too: most of a step's price, and it has not
                been seen to certify more), or a list of names of layers.
            **kwargs: `weighted_metrics`, `run_eagerly`, `steps_per_execution`, `jit_compile` and
                `auto_scale_loss`, as for `keras.Model.compile`.

        Raises:
            ValueError: if an argument is out of range, or the model does not end in a linear layer.
            NotImplementedError: at a layer without a rule, see `keraslip.check_model`.
        """
        options = checked_options(
            epsilon=epsilon, loss=loss, train_epsilon=train_epsilon, sparsity=sparsity,
            power_iterations=power_iterations, bound=bound, input_range=input_range, local=local,
        )  # fmt: skip
        check_bounded(self)
        locality = Locality.chosen(options["local"], self.warm_starts.closings)
        if isinstance(metrics, str | dict):
            raise ValueError(f"metrics must be a list or tuple. Received: metrics={metrics!r}")
        if kwargs.pop("loss_weights", None) is not None:
            raise ValueError(
                "loss_weights weigh the losses of several outputs; a certified model has one. Weigh samples "
                "by sample_weight, or the parts of the loss by its own arguments. Received: loss_weights"
            )
        label_form = metric_form([metrics or (), kwargs.get("weighted_metrics") or ()])
        forget(self)
        super().compile(optimizer=optimizer, metrics=list(metrics or []), **kwargs)
        self.run_state.epsilon.assign(options["epsilon"])
        self._label_form = label_form
        self.robust_loss, self.train_epsilon = options["loss"], options["train_epsilon"]
        self.sparsity, self.power_iterations = options["sparsity"], options["power_iterations"]
        self.bound, self.local, self.locality = options["bound"], options["local"], locality
        self.input_range = options["input_range"]
        self._compile_arguments = {"metrics": list(metrics or []), **kwargs, **options}

    @property
    def epsilon_value(self) -> float:
        """The compiled epsilon; 0 before `compile`."""
        if not self.compiled:
            return 0.0
        stored = float(keras.ops.convert_to_numpy(self.run_state.epsilon))
        asked = float(self._compile_arguments["epsilon"])
        # The weight that training reads is a float32, which may be smaller than what was asked for.
        return asked if np.float32(asked) == np.float32(stored) else stored

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains, as `keras.Model.fit`; logs also certified_accuracy, lipschitz, epsilon and varying.

        At the end of each epoch `lipschitz_gap` is logged: the converged Lipschitz bound over the one that
        a training step believes, on 16 images; above 1.05 a warning says so. (Not in several processes.)

        Schedules run from the start to the end of this call; with `initial_epoch` they go on where they
        were. Inputs and labels are checked first: arrays whole, streams on their first batch. A sample of a
        later batch whose label is no class is left out of the loss, and is an error at the end of the epoch.

        Args:
            x: Inputs `(n, *shape)`, or a stream of batches (`tf.data.Dataset`, `PyDataset`, `DataLoader`,
                generator).
            y: Labels: class indices `(n,)` or one-hot `(n, classes)`; none for a stream.
            *args: As for `keras.Model.fit`.
            **kwargs: As for `keras.Model.fit`.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            ValueError: if data are empty, not finite, of the wrong shape, or labels out of range.
            NotImplementedError: at a layer that was changed to one without a rule.

        Warns:
            UserWarning: if inputs leave the `input_range` of `compile`, as bytes from 0 to 255 do: epsilon
                is in the units of the inputs; and if epsilon reaches over half of that range.
        """
        self._assert_compile_called("fit")
        # Before Keras begins: an error while JAX traces takes the weights away.
        check_bounded(self)
        self._check_trainable()
        seen: list[np.ndarray] = []
        data = self._checked(x, y, seen.append)
        tell_outside(self, seen[0])
        tell_wide(self)
        given = inspect.signature(keras.Model.fit).bind(self, data, y, *args, **kwargs)
        options = given.arguments
        if (held_out := options.get("validation_data")) is not None:
            options["validation_data"] = check_validation(held_out, self._checked)
        sample = sample_of((x, y), options.get("validation_data"))
        own = [RunProgress(), StuckWarning(self.outputs[0].shape[-1], sample=sample)]
        if place_among_processes()[1] == 1:
            own.append(LipschitzGap(seen[0], begins=not options.get("initial_epoch")))
        options["callbacks"] = with_own(
            self, options.get("callbacks"), own, options.get("epochs", 1)
        )
        check_checkpoints(options["callbacks"])
        try:
            history = super().fit(*given.args[1:], **given.kwargs)
            settle(self)
            return history
        finally:
            # Outside a run schedules are at their end value.
            self.run_state.set(0, 0, 0)
            if averages(self):
                own_values(self)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluates at the compiled epsilon, as `keras.Model.evaluate`, with the logs of `fit`.

        `certified_accuracy` here is an estimate by power iteration, for curves; it is no certificate. Inputs
        are checked, and told of where they leave the `input_range` of `compile`, as by `fit`.
        """
        self._assert_compile_called("evaluate")
        check_bounded(self)
        if not kwargs.get("_use_cached_eval_dataset"):  # checked by fit already
            seen: list[np.ndarray] = []
            x = self._checked(x, y, seen.append)
            tell_outside(self, seen[0])
        return super().evaluate(x, y, *args, **kwargs)

    def _checked(self, x: Any, y: Any, look: Callable[[Any], None] | None = None) -> Any:
        return check_data(self, x, y, look)
