"""The monitor: what it writes, that it goes on where a run stopped, and that training does not notice it."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import keraslip
from keraslip.callbacks import LipschitzMonitor
from keraslip.callbacks.csv_table import CsvTable, read_rows
from keraslip.callbacks.event_file import EventFile
from keraslip.callbacks.probe import Probe

files_alone = pytest.mark.any_backend("what is written to files, and messages")
EPSILON = 0.3
LAYERS = ["clipped", "logits"]


class CountedLoss(keraslip.losses.GloRoLoss):
    """Counts how often Python runs it: once for each trace, or for each step without compilation."""

    calls = 0

    def call(self, y_true, y_pred):
        type(self).calls += 1
        return super().call(y_true, y_pred)


def build(units=8):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Flatten()(inputs)
    x = keraslip.layers.MaskedLipschitzDense(units)(x)
    x = keraslip.layers.ClippedReLU(0.5, name="clipped")(x)
    model = keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(3)(x))
    # On TensorFlow without XLA, which takes longer than the run.
    quick = {"jit_compile": False} if keras.backend.backend() == "tensorflow" else {}
    model.compile(keras.optimizers.Adam(0.02), epsilon=EPSILON, loss=CountedLoss(), **quick)
    return model


@pytest.fixture(scope="module")
def model():
    """One for all tests that do not ask where training begins."""
    return build()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.arange(48) % 3
    x = rng.uniform(0, 0.4, (48, 4, 4, 1)) + (
        np.arange(16).reshape(4, 4, 1) % 3 == y[:, None, None, None]
    )
    return (x / 1.4).astype("float32"), y


def fit(model, data, *callbacks, epochs=2, **options):
    x, y = data
    held_out = (x[:12], y[:12])
    return model.fit(
        x, y, batch_size=16, epochs=epochs, verbose=0, validation_data=held_out, shuffle=False,
        callbacks=list(callbacks), **options,
    )  # fmt: skip


def monitor(folder, data, **options):
    return LipschitzMonitor(folder, data[0][:12], data[1][:12], **{"tensorboard": False} | options)


def test_norms_and_radii_are_those_of_explain_and_estimate(model, data, tmp_path):
    watch = monitor(tmp_path, data, power_iterations=50)
    fit(model, data, watch)
    first, last = read_rows(tmp_path / "monitor.csv")
    assert (first["epoch"], last["epoch"]) == (1, 2)
    assert (tmp_path / "monitor.csv").read_text().startswith("epoch,local_norm_estimate/clipped,")
    assert first != {**last, "epoch": 1}
    x, y = data[0][:12], data[1][:12]
    rows = model.explain(x)
    assert [row.layer for row in rows] == LAYERS
    for row in rows:
        shown = [last[f"{name}/{row.layer}"] for name in (
            "local_norm_estimate", "global_norm_estimate", "varying")]  # fmt: skip
        np.testing.assert_allclose(shown, [row.local_norm, row.global_norm, row.varying], rtol=1e-4)
    radii = watch._probe.radii(model)
    assert last["radius_estimate/quantile_0.5"] == pytest.approx(np.median(radii))
    assert 0 < np.median(radii) < 4 * EPSILON
    step = 4 * EPSILON / 2**7
    for i in range(12):
        here, above = (model.estimate(x[i : i + 1], y[i : i + 1], epsilon=float(e)).margin[0]
                       for e in (radii[i], radii[i] + 1.01 * step))  # fmt: skip
        assert (radii[i] == 0 or here > -1e-5) and above <= 1e-5


def test_wrong_predictions_have_radius_zero(model, data):
    x = data[0][:12]
    right = model.predict(x, verbose=0).argmax(axis=1).astype("int32")
    mixed = np.where(np.arange(12) < 6, right, (right + 1) % 3).astype("int32")
    radii = Probe(x, mixed, EPSILON, 10).radii(model)
    assert (radii[6:] == 0).all() and (radii[:6] > 0).any()
    assert (Probe(x, None, EPSILON, 10).radii(model)[:6] == radii[:6]).all()


def test_training_does_not_notice_it(data, tmp_path):
    plain, watched = build(), build()
    CountedLoss.calls = 0
    fit(plain, data)
    alone, CountedLoss.calls = CountedLoss.calls, 0
    fit(watched, data, monitor(tmp_path, data))
    assert CountedLoss.calls == alone > 0  # nothing is traced again
    for a, b in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@files_alone
def test_a_run_goes_on_in_the_same_files(model, data, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.epochs_seen == 2:
                raise KeyboardInterrupt

        def on_epoch_begin(self, epoch, logs=None):
            self.epochs_seen = epoch

    path = tmp_path / "monitor.csv"
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, monitor(tmp_path, data), Stop(), epochs=3)
    before = path.read_text()
    assert [row["epoch"] for row in read_rows(path)] == [1, 2]
    fit(model, data, monitor(tmp_path, data), epochs=3, initial_epoch=2)
    assert [row["epoch"] for row in read_rows(path)] == [1, 2, 3]
    assert path.read_text().startswith(before)
    # The second epoch counted as not done: its row is replaced.
    fit(model, data, monitor(tmp_path, data), epochs=2, initial_epoch=1)
    assert [row["epoch"] for row in read_rows(path)] == [1, 2]
    fit(model, data, monitor(tmp_path, data, every=2), epochs=4)
    assert [row["epoch"] for row in read_rows(path)] == [2, 4]
    assert list(tmp_path.iterdir()) == [path]


@files_alone
def test_columns_of_another_network_are_refused(tmp_path):
    CsvTable(tmp_path / "monitor.csv", 0).add({"epoch": 1, "varying/a": 0.5})
    again = CsvTable(tmp_path / "monitor.csv", 1)
    with pytest.raises(ValueError, match="another network.*varying/b"):
        again.add({"epoch": 2, "varying/b": 0.5})


def test_tensorboard_reads_what_it_wrote_beside_keras_own_callback(model, data, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    beside = []
    if keras.backend.backend() == "tensorflow":  # Keras' callback needs TensorFlow
        beside = [keras.callbacks.TensorBoard(tmp_path, write_graph=False)]
    history = fit(model, data, *beside, monitor(tmp_path, data, tensorboard=True))
    found = EventAccumulator(str(tmp_path / "lipschitz")).Reload()
    rows = read_rows(tmp_path / "monitor.csv")
    tags = found.Tags()["tensors"]
    assert set(rows[0]) - {"epoch"} | {"radius_estimate/histogram"} <= set(tags)
    for tag in set(rows[0]) - {"epoch"}:
        assert shown(found, tag) == pytest.approx([row[tag] for row in rows])
    assert shown(found, "fit/val_loss") == pytest.approx(history.history["val_loss"])
    assert [event.step for event in found.Tensors("fit/loss")] == [0, 1]
    histogram = numbers(found.Tensors("radius_estimate/histogram")[-1])
    assert histogram[:, 2].sum() == 12
    assert histogram[0, 0] == pytest.approx(rows[-1]["radius_estimate/quantile_0"])
    folders = {path.name for path in tmp_path.iterdir()}
    assert folders == {"monitor.csv", "lipschitz"} | ({"train", "validation"} if beside else set())


def numbers(event):
    from tensorboard.util import tensor_util

    return tensor_util.make_ndarray(event.tensor_proto)


def shown(found, tag):
    return [float(numbers(event)) for event in found.Tensors(tag)]


@files_alone
def test_a_second_file_replaces_the_steps_that_are_run_again(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    first = EventFile(tmp_path, 0)
    for step in range(3):
        first.write(step, {"a/b": 1.0 + step}, {})
    EventFile(tmp_path, 2).write(2, {"a/b": 9.0}, {})
    assert len(list(tmp_path.iterdir())) == 2
    assert shown(EventAccumulator(str(tmp_path)).Reload(), "a/b") == [1.0, 2.0, 9.0]


@files_alone
def test_event_files_need_no_tensorflow(tmp_path):
    pytest.importorskip("tensorboard")
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"  # importing it is an error
        "from pathlib import Path\n"
        "from importlib.util import module_from_spec, spec_from_file_location as spec\n"
        f"at = spec('event_file', {sys.modules[EventFile.__module__].__file__!r})\n"
        "module = module_from_spec(at); at.loader.exec_module(module)\n"
        f"module.EventFile(Path({str(tmp_path)!r}), 0).write(0, {{'a': 1.0}}, {{'h': [1.0, 2.0]}})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size > 100


@files_alone
def test_a_missing_tensorboard_is_named_with_its_extra(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with pytest.raises(ImportError, match=r"keraslip\[tensorboard\].*tensorboard=False"):
        monitor(tmp_path, data, tensorboard=True)
    monitor(tmp_path, data)


@files_alone
@pytest.mark.parametrize(
    "options, message",
    [
        ({"samples": 0}, "samples must be.*>= 1"),
        ({"every": True}, "every must be"),
        ({"power_iterations": 1.5}, "power_iterations must be"),
        ({"epsilon": -1.0}, "epsilon must be"),
        ({"x": np.full((2, 4, 4, 1), np.nan)}, "NaN"),
        ({"x": np.zeros((0, 4, 4, 1))}, "at least one"),
        ({"x": np.zeros((3, 4, 4, 1)), "y": np.zeros(2, int)}, "differ in length"),
    ],
)
def test_bad_arguments_are_refused_at_once(options, message, tmp_path):
    arguments = {"x": np.zeros((2, 4, 4, 1)), **options}
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        LipschitzMonitor(tmp_path, tensorboard=False, **arguments)


def test_what_does_not_fit_the_model_is_refused_before_training(model, data, tmp_path):
    x, y = data
    bad = {
        "input shape": LipschitzMonitor(tmp_path, x[:, :3], tensorboard=False),
        r"0\.\.2": LipschitzMonitor(tmp_path, x, y + 1, tensorboard=False),
    }
    for message, watch in bad.items():
        with pytest.raises(ValueError, match=message):
            fit(model, data, watch)
    inputs = keras.Input((4, 4, 1))
    plain = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    plain.compile(loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"needs a keraslip.LocalLipschitzModel"):
        fit(plain, data, monitor(tmp_path, data))
    assert list(tmp_path.iterdir()) == []
