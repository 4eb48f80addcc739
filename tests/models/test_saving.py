"""Saved models: the same numbers in a fresh process, and training that continues exactly."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keraslip
from keraslip.certify.execution.kept_network import network_of
from keraslip.datasets import ShuffledBatches
from tests.models.nets import (
    EPSILON,
    UNCOMPILED,
    assert_same,
    compiled,
    conv_net,
    dense_net,
    fused_net,
    samples,
    weights_of,
)

ROOT = Path(__file__).parents[2]
NETS = {"conv": conv_net, "fused": lambda: fused_net(dropout=0.5)}
PRELUDE = """
import importlib.util
if importlib.util.find_spec("torch"):
    import torch
import sys, numpy as np, keras, keraslip
from keraslip.certify.execution.kept_network import network_of
from keraslip.datasets import ShuffledBatches
folder = sys.argv[1]
data = np.load(folder + "/data.npz")
x, y = data["x"], data["y"]
"""
# One fresh process answers for all nets: starting it costs more than its work.
LOAD = """
out = {}
for name in sys.argv[2:]:
    model = keras.models.load_model(f"{folder}/{name}.keras")
    shape = model.inputs[0].shape[1:]
    z = x.reshape(len(x), -1)[:, : int(np.prod(shape))].reshape(-1, *shape)
    logs = model.evaluate(z, y, batch_size=8, verbose=0, return_dict=True)
    out |= {f"{name} {k}": v for k, v in logs.items()}
    found = model.estimate(z, y)
    out |= {f"{name} margin": found.margin, f"{name} logits": found.logits}
    out[f"{name} network"] = network_of(model)[1]
    keras.utils.set_random_seed(99)  # a resumed run must not lean on the seed of the process
    batches = ShuffledBatches(z, y, 8, seed=5, start_epoch=2)
    model.fit(batches, initial_epoch=2, epochs=4, shuffle=False, verbose=0)
    for i, w in enumerate([*model.weights, *model.optimizer.variables]):
        out[f"{name} weight {i}"] = keras.ops.convert_to_numpy(w)
np.savez(folder + "/out.npz", **out)
"""


def all_weights(model):
    both = [*model.weights, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(w)) for w in both]


def inputs_of(model, x):
    shape = model.inputs[0].shape[1:]
    return x.reshape(len(x), -1)[:, : int(np.prod(shape))].reshape(-1, *shape)


def fit(model, x, y, first, last, of):
    """Epochs `first` to `last` of a run of `of` epochs."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch + 1 == last

    batches = ShuffledBatches(x, y, 8, seed=5, start_epoch=first)
    callbacks = [Stop()]
    model.fit(
        batches, initial_epoch=first, epochs=of, shuffle=False, verbose=0, callbacks=callbacks
    )


def fresh(name):
    keras.utils.set_random_seed(1)
    kwargs = {"loss": keraslip.losses.BCPLoss(keraslip.schedules.LinearRamp(1.0, 0.5, until=0.75))}
    return compiled(NETS[name](), keras.optimizers.Adam(0.01), sparsity=0.01, **kwargs)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """For each net: the model saved after two of four epochs, and what a fresh process made of it."""
    folder = tmp_path_factory.mktemp("saved")
    x, y = samples(24, shape=(64,))
    np.savez(folder / "data.npz", x=x, y=y)
    saved = {}
    for name in NETS:
        saved[name] = model = fresh(name)
        fit(model, inputs_of(model, x), y, 0, 2, of=4)
        model.save(folder / f"{name}.keras")
    command = [sys.executable, "-c", PRELUDE + LOAD, str(folder), *NETS]
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return folder, x, y, saved, np.load(folder / "out.npz")


@pytest.mark.parametrize("name", NETS)
def test_a_fresh_process_evaluates_and_estimates_the_same(runs, name):
    _, x, y, saved, out = runs
    model = saved[name]
    x = inputs_of(model, x)
    logs = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    assert logs["epsilon"] == np.float32(EPSILON)
    assert {k: float(out[f"{name} {k}"]) for k in logs} == pytest.approx(logs, abs=1e-6)
    found = model.estimate(x, y)
    np.testing.assert_allclose(out[f"{name} margin"], found.margin, atol=1e-6)
    np.testing.assert_allclose(out[f"{name} logits"], found.logits, atol=1e-6)
    assert str(out[f"{name} network"]) == network_of(model)[1]


@pytest.mark.gap
@pytest.mark.parametrize("name", NETS)
def test_a_run_resumed_in_a_fresh_process_is_the_uninterrupted_one(runs, name):
    _, x, y, _, out = runs
    model = fresh(name)
    fit(model, inputs_of(model, x), y, 0, 4, of=4)
    expected = all_weights(model)
    found = [out[f"{name} weight {i}"] for i in range(len(expected))]
    assert_same(found, expected, 1e-6)
    assert int(model.optimizer.iterations) == 12


def test_the_compiled_state_is_saved(runs):
    folder, _, _, saved, _ = runs
    model = keras.models.load_model(folder / "fused.keras")
    before = saved["fused"]
    assert type(model) is keraslip.LocalLipschitzModel
    assert model.epsilon_value == before.epsilon_value == EPSILON
    assert model.sparsity == 0.01
    assert model.input_range == (0.0, 1.0)
    assert (model.bound, model.power_iterations) == ("local", 5)
    assert type(model.robust_loss) is keraslip.losses.BCPLoss
    assert model.robust_loss.get_config() == before.robust_loss.get_config()
    assert model.train_epsilon.get_config() == before.train_epsilon.get_config()
    assert model.optimizer.get_config() == before.optimizer.get_config()
    assert_same(all_weights(model), all_weights(before))


def test_a_checkpoint_of_the_middle_of_a_run_stands_outside_it_when_loaded(tmp_path):
    x, y = samples(8)
    path = str(tmp_path / "model.keras")
    keras.utils.set_random_seed(1)
    model = compiled(dense_net())
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_freq="epoch")

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    model.fit(x, y, epochs=8, verbose=0, callbacks=[checkpoint, Stop()])
    loaded = keras.models.load_model(path)
    logs = loaded.train_on_batch(x, y, return_dict=True)
    assert logs["epsilon"] == np.float32(1.1 * EPSILON)


def test_other_options_survive_saving(tmp_path):
    model = compiled(
        dense_net(),
        keras.optimizers.SGD(0.1, momentum=0.9),
        loss=keraslip.losses.TradesLoss(beta=2.5),
        train_epsilon=keraslip.schedules.Constant(0.05),
        bound="paper",
        power_iterations=3,
        input_range=None,
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
        weighted_metrics=["accuracy"],
    )
    x, y = samples(8)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.bound, loaded.power_iterations, loaded.input_range) == ("paper", 3, None)
    assert loaded.robust_loss.beta == 2.5
    assert loaded.train_epsilon.get_config() == {"value": 0.05}
    logs = loaded.evaluate(x, y, verbose=0, return_dict=True)
    assert logs == pytest.approx(model.evaluate(x, y, verbose=0, return_dict=True), abs=1e-6)
    assert "top2" in logs


def test_an_uncompiled_model_is_saved_and_loaded(tmp_path):
    model = dense_net()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not loaded.compiled
    assert_same(weights_of(loaded), weights_of(model))


@pytest.mark.parametrize("name", NETS)
def test_weights_and_config_make_a_copy(name):
    x, y = samples(8, shape=(64,))
    model = fresh(name)
    x = inputs_of(model, x)
    copies = [
        keraslip.LocalLipschitzModel.from_config(model.get_config()),
        keras.models.clone_model(model),
    ]
    for copy in copies:
        assert type(copy) is keraslip.LocalLipschitzModel
        copy.set_weights(model.get_weights())
        assert_same(weights_of(copy), weights_of(model))
        np.testing.assert_array_equal(
            copy.estimate(x, y, epsilon=0.1).margin, model.estimate(x, y, epsilon=0.1).margin
        )


def test_weights_alone_are_saved_and_loaded(tmp_path):
    model, other = fresh("fused"), fresh("fused")
    x, y = samples(8)
    model.fit(x, y, epochs=2, verbose=0)
    # As in Keras: without it the optimizer of the other model would stay as it is, with a warning.
    other.optimizer.build(other.trainable_variables)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert_same(weights_of(other), weights_of(model))


WAYS = {
    "set_weights": lambda model, other, path: model.set_weights(other.get_weights()),
    "load_weights": lambda model, other, path: (
        other.save_weights(path / "w.weights.h5"),
        model.load_weights(path / "w.weights.h5"),
    ),
    "load_weights of a model": lambda model, other, path: (
        other.save(path / "m.keras"),
        model.load_weights(path / "m.keras"),
    ),
    "set_state_tree": lambda model, other, path: model.set_state_tree(
        {k: v for k, v in other.get_state_tree().items() if k.endswith("trainable_variables")}
    ),
}


@pytest.mark.parametrize("way", WAYS)
# Keras: an optimizer that has not run yet does not take the other's state.
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning")
def test_weights_from_elsewhere_leave_the_compiled_epsilon_alone(way, tmp_path):
    model = compiled(dense_net(name="net"), epsilon=0.5)
    other = compiled(dense_net(name="net"), epsilon=0.1)
    other.get_layer("logits").bias.assign([0.0, 0.2, 0.0])
    WAYS[way](model, other, tmp_path)
    np.testing.assert_array_equal(
        model.get_layer("logits").bias.numpy(), other.get_layer("logits").bias.numpy()
    )
    assert model.epsilon_value == 0.5
    assert model.certify(samples(2)[0], workers=1, verbose=0).epsilon.tolist() == [0.5, 0.5]
    # One that was never compiled has none.
    bare = dense_net(name="net")
    WAYS[way](bare, other, tmp_path)
    assert bare.epsilon_value == 0.0


def test_a_restored_backup_leaves_the_compiled_epsilon_alone(tmp_path):
    x, y = samples(8)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        model = compiled(dense_net(name="net"), **UNCOMPILED)
        model.fit(x, y, epochs=2, verbose=0, callbacks=[backup, Stop()])
    model = compiled(dense_net(name="net"), epsilon=0.5, **UNCOMPILED)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    history = model.fit(x, y, epochs=2, verbose=0, callbacks=[backup])
    assert history.epoch == [1] and model.epsilon_value == 0.5


H5 = {
    "save": lambda model, path: model.save(path),
    "keras.saving": lambda model, path: keras.saving.save_model(model, path),
    "ModelCheckpoint": lambda model, path: model.fit(
        *samples(8), verbose=0, callbacks=[keras.callbacks.ModelCheckpoint(path)]
    ),
}


@pytest.mark.parametrize("ending", [".h5", ".hdf5"])
@pytest.mark.parametrize("way", H5)
def test_hdf5_is_refused_before_the_file_is_touched(way, ending, tmp_path):
    if (way, ending) == ("ModelCheckpoint", ".hdf5"):
        pytest.skip("Keras refuses the name")
    path = tmp_path / f"model{ending}"
    path.write_bytes(b"precious")
    model = compiled(dense_net())
    before = weights_of(model)
    with pytest.raises(ValueError, match=r"\.keras"):
        H5[way](model, str(path))
    assert path.read_bytes() == b"precious"
    assert_same(weights_of(model), before)


def test_weights_of_layers_that_derive_something_from_them():
    inputs = keras.Input((6,))
    scaled = keras.layers.Normalization()
    outputs = keraslip.layers.MaskedLipschitzDense(3)(scaled(inputs))
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    scaled.adapt(5.0 + 3.0 * samples()[0])
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    x = samples(4)[0]
    np.testing.assert_array_equal(copy.predict_on_batch(x), model.predict_on_batch(x))
