"""`fit`, `evaluate` and `predict` take every kind of data that Keras takes."""

import math

import keras
import numpy as np
import pytest

import keraslip
from tests.models.nets import (
    CLASSES,
    FEATURES,
    FIT_LOGS,
    LOGS,
    SAMPLES,
    UNCOMPILED,
    assert_same,
    compiled,
    ready,
    samples,
    weights_of,
)

BATCH = 8


class Batches(keras.utils.PyDataset):
    """Batches of arrays, with or without sample weights."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return math.ceil(len(self.arrays[0]) / BATCH)

    def __getitem__(self, index):
        return tuple(a[index * BATCH : (index + 1) * BATCH] for a in self.arrays)


def endless(x, y):
    while True:
        for i in range(0, len(x), BATCH):
            yield x[i : i + BATCH], y[i : i + BATCH]


def tf_data(x, y, weights=None):
    tf = pytest.importorskip("tensorflow")
    parts = (x, y) if weights is None else (x, y, weights)
    return tf.data.Dataset.from_tensor_slices(parts).batch(BATCH)


def loader(x, y, **kwargs):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y.astype("int64")))
    return torch.utils.data.DataLoader(data, batch_size=BATCH, **kwargs)


SOURCES = {
    "tf.data": (tf_data, {}),
    "DataLoader": (loader, {}),
    "DataLoader, shuffled": (lambda x, y: loader(x, y, shuffle=True, drop_last=True), {}),
    "PyDataset": (Batches, {}),
    "generator": (endless, {"steps_per_epoch": SAMPLES // BATCH}),
}


def fresh(**kwargs):
    return ready(**kwargs)


@pytest.mark.parametrize("name", SOURCES)
def test_a_stream_trains_evaluates_and_predicts_like_arrays(name):
    x, y = samples()
    make, steps = SOURCES[name]
    ordered = "shuffled" not in name
    expected = fresh().fit(x, y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0).history

    model = fresh()
    history = model.fit(make(x, y), epochs=2, shuffle=False, verbose=0, **steps).history

    assert set(history) == FIT_LOGS
    if ordered:
        for key in LOGS:
            np.testing.assert_allclose(history[key], expected[key], rtol=1e-4, atol=1e-6)
    else:
        np.testing.assert_allclose(history["epsilon"], expected["epsilon"], rtol=1e-5)
    steps = {"steps": SAMPLES // BATCH} if steps else {}
    by_stream = model.evaluate(make(x, y), return_dict=True, verbose=0, **steps)
    by_array = model.evaluate(x, y, batch_size=BATCH, return_dict=True, verbose=0)
    if ordered:
        assert by_stream == pytest.approx(by_array, rel=1e-4, abs=1e-6)
        logits = model.predict(make(x, y), verbose=0, **steps)
        np.testing.assert_allclose(logits, model.predict(x, verbose=0), atol=1e-5)


@pytest.mark.parametrize("name", ["arrays", "PyDataset", "tf.data"])
def test_the_autotuner_of_tf_data_holds_up_no_epoch(name, backend, monkeypatch):
    if backend != "tensorflow":
        pytest.skip("tf.data is TensorFlow's")
    (x, y), read = samples(), []
    model = fresh()
    build = type(model)._maybe_symbolic_build

    def spy(self, iterator=None, data_batch=None):
        build(self, iterator, data_batch)
        read.append(iterator._distributed_dataset.options().autotune.enabled)

    monkeypatch.setattr(type(model), "_maybe_symbolic_build", spy)
    data = (
        {"x": x, "y": y, "batch_size": BATCH} if name == "arrays" else {"x": SOURCES[name][0](x, y)}
    )
    model.fit(**data, validation_data=(x, y), epochs=2, shuffle=False, verbose=0)
    assert len(read) == 3 and not any(read)  # training, and validation after both epochs
    model.evaluate(**data, verbose=0)
    assert len(read) == 4 and read[3] is False


def test_the_autotuner_of_tf_data_runs_for_who_asks_for_it(backend):
    if backend != "tensorflow":
        pytest.skip("tf.data is TensorFlow's")
    import tensorflow as tf

    from keraslip.models.train_step.tensorflow import untuned

    options = tf.data.Options()
    options.autotune.enabled = True
    asked = tf_data(*samples()).with_options(options)
    assert untuned(asked) is asked
    assert untuned(tf_data(*samples())).options().autotune.enabled is False


def three_batches(x, y, seen):
    for i in range(0, len(x), BATCH):
        seen.append(len(x[i : i + BATCH]))
        yield x[i : i + BATCH], y[i : i + BATCH]


# Keras says so wherever a stream of unknown length ends.
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_the_first_batch_of_a_generator_is_looked_at_and_trained_on_once():
    (x, y), seen = samples(), []
    # A fixed epsilon: a ramp counts a stream of unknown length in epochs, arrays in steps.
    model, expected = fresh(train_epsilon=0.1), fresh(train_epsilon=0.1)
    model.fit(three_batches(x, y, seen), epochs=1, shuffle=False, verbose=0)
    expected.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)

    assert seen == [8, 8, 8]
    assert_same(weights_of(model), weights_of(expected), 1e-6)


# Keras says so wherever a stream of unknown length ends.
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_a_generator_of_three_batches_makes_as_many_steps_as_in_keras(backend):
    x, y = samples()
    # Compiled, TensorFlow also counts the step that finds the stream at its end: in plain Keras as here.
    model = fresh(run_eagerly=backend == "tensorflow")
    model.fit(three_batches(x, y, []), epochs=1, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 3

    model = fresh()
    plain = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(CLASSES)])
    plain.compile("sgd", keras.losses.SparseCategoricalCrossentropy(), jit_compile=False)
    for each in (model, plain):
        each.fit(three_batches(x, y, []), epochs=1, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == int(plain.optimizer.iterations)


# Keras says so wherever a stream of unknown length ends.
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_unknown_cardinality_counts_progress_in_epochs():
    tf = pytest.importorskip("tensorflow")
    x, y = samples()
    data = tf_data(x, y).filter(lambda x, y: tf.constant(True))
    assert int(data.cardinality()) == -2

    history = fresh(train_epsilon=None).fit(data, epochs=4, shuffle=False, verbose=0).history

    # 1.1 * 0.1 reached at half the run: epochs stand at 0, 1/4, 1/2, 3/4 of it.
    np.testing.assert_allclose(history["epsilon"], [0.0, 0.055, 0.11, 0.11], rtol=1e-6)


@pytest.mark.parametrize(
    "kind", ["arrays", "weighted arrays", "tf.data", "DataLoader", "PyDataset"]
)
def test_validation_data_of_every_kind(kind):
    x, y = samples()
    weights = np.linspace(0, 1, SAMPLES).astype("float32")
    held_out = {
        "arrays": lambda: (x, y),
        "weighted arrays": lambda: (x, y, weights),
        "tf.data": lambda: tf_data(x, y),
        "DataLoader": lambda: loader(x, y),
        "PyDataset": lambda: Batches(x, y),
    }[kind]()
    model = fresh()
    history = model.fit(x, y, batch_size=BATCH, validation_data=held_out, verbose=0).history

    assert set(history) == FIT_LOGS | {f"val_{key}" for key in LOGS}
    weighted = weights if kind == "weighted arrays" else None
    after = model.evaluate(
        x, y, batch_size=BATCH, sample_weight=weighted, return_dict=True, verbose=0
    )
    assert {k: v[-1] for k, v in history.items() if k[:4] == "val_"} == pytest.approx(
        {f"val_{k}": v for k, v in after.items()}, rel=1e-4, abs=1e-6
    )


def test_validation_split_holds_out_the_last_samples():
    x, y = samples()
    model = fresh()
    history = model.fit(x, y, batch_size=BATCH, validation_split=1 / 3, verbose=0).history
    kept = model.evaluate(x[16:], y[16:], batch_size=BATCH, return_dict=True, verbose=0)

    assert set(history) == FIT_LOGS | {f"val_{key}" for key in LOGS}
    assert history["val_loss"][-1] == pytest.approx(kept["loss"], rel=1e-4)


def test_integer_images_and_labels_in_a_column_train():
    x, y = samples()
    model = fresh(input_range=(0, 3))
    history = model.fit((4 * x).astype("uint8"), y[:, None], batch_size=BATCH, verbose=0).history
    assert set(history) == FIT_LOGS
    assert np.isfinite(history["loss"]).all()


DTYPES = ["float64", "float16", "uint8", "int64", "bool"]
DOORS = {
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y, return_dict=True)["loss"],
    "test_on_batch": lambda model, x, y: model.test_on_batch(x, y, return_dict=True)["loss"],
    "predict_on_batch": lambda model, x, y: model.predict_on_batch(x),
    "arrays": lambda model, x, y: model.fit(x, y, batch_size=8, verbose=0).history["loss"],
    "tf.data": lambda model, x, y: model.fit(tf_data(x, y), shuffle=False, verbose=0).history[
        "loss"
    ],
    "DataLoader": lambda model, x, y: model.evaluate(loader(x, y), verbose=0),
    "PyDataset": lambda model, x, y: model.fit(Batches(x, y), verbose=0).history["loss"],
    "generator": lambda model, x, y: model.evaluate(endless(x, y), steps=1, verbose=0),
}


@pytest.mark.parametrize("door", DOORS)
def test_inputs_of_every_dtype(door):
    x = (np.random.default_rng(0).uniform(size=(8, FEATURES)) > 0.5).astype("float32")
    y = samples(8)[1]
    model = fresh(**UNCOMPILED)
    start = model.get_weights()
    expected = DOORS[door](model, x, y)
    for dtype in DTYPES:
        model.set_weights(start)
        model.reset_metrics()
        found = DOORS[door](model, x.astype(dtype), y)
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=dtype)


def test_inputs_are_rounded_as_the_models_input_rounds_them():
    inputs = keras.Input((FEATURES,), dtype="uint8")
    x = keraslip.layers.MaskedLipschitzDense(CLASSES)(keras.layers.Rescaling(0.5)(inputs))
    model = compiled(keraslip.LocalLipschitzModel(inputs, x), **UNCOMPILED, input_range=None)
    x, y = 4.0 * samples(8)[0], samples(8)[1]
    right = (model.predict_on_batch(x).argmax(axis=1) == y).mean()
    assert model.test_on_batch(x, y, return_dict=True)["accuracy"] == pytest.approx(right)
    found = model.estimate(x, y, power_iterations=2)
    np.testing.assert_allclose(found.logits, model.predict_on_batch(x), rtol=1e-5, atol=1e-6)
