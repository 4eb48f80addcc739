"""The training run behind `keraslip train` and `keraslip demo`."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from keraslip import losses, registered  # noqa: F401 - what a checkpoint may hold
from keraslip.cli import saved
from keraslip.cli.own_model import builder, know
from keraslip.cli.progress import EpochBar
from keraslip.cli.run_folder import (
    CONFIG,
    DATA,
    LAST,
    STATE,
    Averaged,
    Checkpoint,
    EpochLog,
    RunFolder,
)
from keraslip.cli.setting_options import STARTS
from keraslip.cli.settings import CommonSettings, Settings
from keraslip.datasets import Dataset, ShuffledBatches
from keraslip.models.options import usual_schedule
from keraslip.schedules import Constant


def advice(settings: Settings) -> str:
    """What `keraslip train` can change where a run does not learn: nothing that is so already."""
    changes = ["a smaller --epsilon", "more --epochs", "a smaller --learning-rate"]
    changes += [] if settings.loss == "gloro" else ["--loss gloro"]
    return f"Begin another run with {', '.join(changes[:-1])} or {changes[-1]}."


def begin(settings: Settings, data: Dataset) -> Any:
    """The model of a run that begins; nothing is written, so that what cannot be built leaves nothing."""
    keras.utils.set_random_seed(settings.seed)
    return build(settings, data, len(training_batches(settings, data)))


def build(settings: Settings, data: Dataset, steps: int) -> Any:
    """The compiled model of a run; image size and number of classes are those of the data."""
    network = builder(
        settings.application,
        activation=settings.activation,
        threshold=settings.threshold,
        width=settings.width,
        input_shape=data.input_shape,
        classes=data.num_classes,
    )
    model = network()
    if settings.start == "orthogonal":
        _orthogonal(model)
    elif settings.start not in STARTS:
        _copy(model, settings.start)
    optimizers = {"adam": keras.optimizers.Adam, "nadam": keras.optimizers.Nadam}
    rate = _learning_rate(settings, steps)
    average = {} if settings.ema is None else {"use_ema": True, "ema_momentum": settings.ema}
    loss = losses.get(settings.loss)
    last = settings.train_epsilon_factor * settings.epsilon
    # Weights that are trained need no slow start.
    drawn = settings.start in STARTS
    model.compile(
        optimizers[settings.optimizer](rate, global_clipnorm=settings.clip_norm, **average),
        epsilon=settings.epsilon,
        loss=loss,
        train_epsilon=usual_schedule(loss, last) if drawn else Constant(last),
        sparsity=settings.sparsity,
        power_iterations=settings.power_iterations,
        bound=settings.bound,
        local=settings.local,
        input_range=data.input_range,
    )
    return model


def _orthogonal(model: Any) -> None:
    """Kernels whose matrices, inputs by outputs, have orthonormal rows or columns."""
    for layer in model.layers:
        if (kernel := getattr(layer, "kernel", None)) is not None:
            kernel.assign(keras.initializers.Orthogonal()(tuple(kernel.shape), kernel.dtype))


def _copy(model: Any, start: str) -> None:
    """The weights of a saved model of the same network; a plain Keras one is converted."""
    source = saved.bounded(saved.load(Path(start)), Path(start))
    if _shapes(source.weights) != _shapes(model.weights):
        # Kernels and biases first: they are what tells the user which layer it is.
        has, needs = (m.trainable_weights + m.weights for m in (source, model))
        pairs = itertools.zip_longest(_shapes(needs), _shapes(has))
        odd = next((n, h) for n, h in pairs if n != h)
        raise ValueError(
            f"--start {start} holds another network than this run's: the run needs weights of shape {odd[0]} "
            f"where the file has {odd[1]}. Give the run the --application, --width and --activation that the "
            "file was trained with, and data of the same shape."
        )
    model.set_weights(source.get_weights())


def _shapes(weights: list[Any]) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in weights]


def _steps_done(model: Any) -> int:
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


def training_batches(
    settings: CommonSettings, data: Dataset, start_epoch: int = 0
) -> ShuffledBatches:
    """Batches of the training images, in the order that the seed decides."""
    return ShuffledBatches(
        data.x_train,
        data.y_train,
        settings.batch_size,
        settings.seed,
        settings.augment,  # type: ignore[arg-type] # checked with the settings
        start_epoch=start_epoch,
    )


def _learning_rate(settings: Settings, steps: int) -> keras.optimizers.schedules.CosineDecay:
    # A warm-up from the rate to itself is a constant share; the rest falls along a cosine.
    total = settings.epochs * steps
    constant = max(int(settings.decay_start * total), 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate,
        decay_steps=max(total - constant, 1),
        alpha=settings.final_learning_rate,
        warmup_target=settings.learning_rate,
        warmup_steps=constant,
    )


def _check_data(folder: RunFolder, data: Dataset, resumed: bool) -> None:
    """Raises where a run would go on with other data than it was begun with, which it then keeps in mind."""
    now, before = {"sha256": data.fingerprint()}, folder.read_json(DATA)
    if resumed and before not in (None, now):
        raise ValueError(
            f"The run in {folder.path} was begun with other training or validation data than {data.name} "
            "holds now, so it cannot go on. Name the file of then with --data, or begin another run with "
            "another --out; --start takes the weights of this one."
        )
    folder.write_json(DATA, now)


def train(
    settings: Settings,
    data: Dataset,
    folder: RunFolder,
    console: Console,
    keep_best: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    model: Any = None,
) -> Any:
    """Trains, or continues, a run: the model, and the seconds that its epochs took in all sessions.

    The test data are not touched. `model` is what `begin` returned; without it the folder says where to go
    on. `callbacks` come before a checkpoint says that an epoch is done; Ctrl-C leaves all epochs but the
    current one.
    """
    state = folder.read_json(STATE)
    done = state["epochs_done"] if state else 0
    _check_data(folder, data, resumed=bool(done))
    if done:
        keras.utils.set_random_seed(settings.seed)
        know(settings.application)
        model = keras.models.load_model(folder.path / LAST)
        done = max(done, _steps_done(model) // len(training_batches(settings, data)))
    elif model is None:
        model = begin(settings, data)
    folder.write_json(CONFIG, settings.as_dict())
    bar = EpochBar(console)
    keeper = Checkpoint(folder, done) if keep_best else EpochLog(folder)
    try:
        model.fit(
            training_batches(settings, data, done),
            epochs=settings.epochs,
            initial_epoch=done,
            shuffle=False,
            validation_data=(data.x_val, data.y_val),
            validation_batch_size=min(1000, len(data.x_val)),
            callbacks=[Averaged(), *callbacks, keeper, bar],
            verbose=0,
        )
    finally:
        bar.stop()
    return model, folder.seconds()
