"""What a step believes of its norms, what the logs say of that, and what `compile` is told about it."""

import warnings
import zipfile

import keras
import numpy as np
import pytest

import keraslip
from keraslip.backend.calls import compiled_once
from keraslip.models.options import POWER_ITERATIONS, uniform_iterations
from keraslip.models.robust_step import step_pass
from keraslip.rules.walk import propagate
from tests.models.nets import compiled, conv_net, dense_net, samples


def believed(model, x):
    """Norms of the two layers of `dense_net` as a training step takes them, and the true ones."""

    def function(x, epsilon):
        context = step_pass(model, epsilon)
        form = propagate(model, x, context)
        context.key = "/logits"
        ball = context.records[0].ball
        return [
            ball.gain,
            context.lipschitz(form),
            *([] if ball.varying is None else [ball.varying]),
        ]

    first, both, *masks = compiled_once(model, "believed", function)(x, np.float32(0.05))
    return (first, both / first), true_norms(model, masks[0] if masks else np.ones((1, 64)))


def true_norms(model, mask):
    """The same by NumPy, with the masks of the pass."""
    first, last = (model.get_layer(n).get_weights()[0] for n in ("first", "logits"))
    return [
        np.array([np.linalg.norm(kernel, 2) for kernel in kernels])
        for kernels in ([first * m for m in mask], [m[:, None] * last for m in mask])
    ]


@pytest.mark.gap
@pytest.mark.parametrize("bound", ["local", "global"])
def test_every_step_of_a_run_is_near_the_truth(bound):
    x, y = samples(64)
    adam, net = keras.optimizers.Adam(0.01), dense_net(units=64)
    model = compiled(net, adam, train_epsilon=0.05, bound=bound)
    found = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            found.append([a / b for a, b in zip(*believed(self.model, x), strict=True)])

    model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[Watch()])
    shares = np.array(found)  # (steps, layers, samples)
    assert len(shares) == 8 and (shares <= 1 + 1e-4).all()
    assert (np.median(shares, axis=2) >= 0.98).all()
    assert (np.quantile(shares, 0.05, axis=2) >= 0.95).all()


@pytest.mark.gap
def test_the_first_steps_know_the_norms_without_iterating():
    x, y = samples(64)
    adam, net = keras.optimizers.Adam(0.05), dense_net(units=64)
    model = compiled(net, adam, train_epsilon=0.05, power_iterations=1, bound="global")
    found = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            found.append([(a / b).mean() for a, b in zip(*believed(self.model, x), strict=True)])

    model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[Watch()])
    assert np.min(found[:4]) > 0.999  # the first epoch
    assert np.min(found[5:]) < 0.999  # where one iteration has to do


@pytest.mark.gap
def test_the_gap_is_logged_and_is_small():
    x, y = samples()
    history = compiled(conv_net()).fit(
        np.resize(x, (24, 8, 8, 1)), y, batch_size=8, epochs=3, verbose=0
    )
    gaps = history.history["lipschitz_gap"]
    assert len(gaps) == 3 and all(1.0 - 1e-4 <= gap < 1.02 for gap in gaps)


@pytest.mark.gap
def test_a_large_gap_is_told_once():
    x, y = samples(16)
    model = compiled(dense_net(units=64), train_epsilon=0.05, power_iterations=1, bound="local")

    class Forget(keras.callbacks.Callback):
        """Brings the warm starts to where they are of no use."""

        def on_train_batch_end(self, batch, logs=None):
            for vector in self.model.warm_starts.vectors:
                other = np.zeros(vector.shape, "float32")
                other[0, 0] = 1.0
                vector.assign(other)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[Forget()])
    (warning,) = [w for w in caught if "lipschitz_gap" in str(w.message)]
    assert "too small" in str(warning.message) and "power_iterations=2" in str(warning.message)


def test_a_callback_list_of_keras_is_taken():
    x, y = samples(8)
    model = compiled(dense_net())
    callbacks = keras.callbacks.CallbackList(add_history=True, model=model)
    history = model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks).history
    assert len(history["lipschitz_gap"]) == len(history["loss"]) == 2


def test_evaluation_iterates_until_a_per_cent():
    x, y = samples(32)
    model = compiled(dense_net(units=64), power_iterations=1)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    converged = model.estimate(x, y, power_iterations=100).lipschitz.mean()
    assert logs["lipschitz"] == pytest.approx(converged, rel=0.01)


@pytest.mark.parametrize("bound", ["local", "global", "paper"])
def test_degenerate_layers_in_batches_of_one(bound):
    """A layer of zeros and one of rank one: no NaN in any log or weight."""
    x, y = samples(3)
    model = compiled(dense_net(), keras.optimizers.SGD(1e-3), bound=bound)
    start = model.get_weights()
    for kernel in (np.zeros((6, 8)), np.outer(np.ones(6), np.arange(8))):
        model.set_weights(start)
        weights = model.get_layer("first").get_weights()
        model.get_layer("first").set_weights([kernel, *weights[1:]])
        logs = model.fit(x, y, batch_size=1, epochs=2, verbose=0).history
        assert np.isfinite(list(logs.values())).all()
        assert all(np.isfinite(w).all() for w in model.get_weights())
        logs = model.evaluate(x, y, batch_size=1, verbose=0, return_dict=True)
        assert logs["lipschitz"] >= 0.0


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({}, "global"),
        ({"local": "auto"}, "global"),
        ({"local": "dense"}, "local"),
        ({"local": ["first"]}, "local"),
        ({"sparsity": 0.01}, "local"),
        ({"sparsity": 0.01, "bound": "global"}, "global"),
        ({"bound": "local"}, "local"),
        ({"bound": "global", "local": "all"}, "global"),
    ],
)
def test_training_is_against_global_norms_unless_local_ones_are_asked_for(options, bound):
    model = compiled(dense_net(), **options)
    assert model.bound == bound
    assert keras.saving.deserialize_keras_object(model.get_compile_config()["bound"]) == bound


def test_a_certificate_has_local_norms_whatever_was_trained():
    x, y = samples(8)
    model = compiled(dense_net())
    estimated = model.certify(x, y, guarantee="estimate").margin
    assert model.estimate(x, y).bound == "global"
    np.testing.assert_allclose(estimated, model.estimate(x, y, bound="local").margin, rtol=1e-5)


def test_defaults():
    model = compiled(conv_net())
    assert model.local == "auto" and model.power_iterations == POWER_ITERATIONS
    assert uniform_iterations(POWER_ITERATIONS) >= POWER_ITERATIONS and uniform_iterations(1) >= 1


@pytest.mark.parametrize("local", ["all", ["logits", "first"]])
def test_the_choice_is_saved(local, tmp_path):
    model = compiled(dense_net(), local=local)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.local == local and loaded.locality == model.locality


@pytest.mark.filterwarnings("ignore:The Lipschitz bound that training believes")
def test_a_file_from_before_there_was_a_choice(tmp_path):
    model = compiled(dense_net(), power_iterations=1)
    x, y = samples(8)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new:
        parts = {name: new.read(name) for name in new.namelist()}
    assert b'"local": "auto"' in parts["config.json"]
    parts["config.json"] = parts["config.json"].replace(b', "local": "auto"', b"")
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name, data in parts.items():
            old.writestr(name, data)
    loaded = keras.models.load_model(tmp_path / "old.keras")
    assert loaded.local == "auto" and loaded.power_iterations == 1
    for mine, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    loaded.fit(x, y, verbose=0)


def test_locality_is_of_the_compiled_model_and_traces_nothing_twice():
    x, y = samples(8)
    x = np.resize(x, (8, 8, 8, 1))
    model = compiled(conv_net(), train_epsilon=0.05, optimizer=keras.optimizers.SGD(0.0))
    seen = []
    for local in ("auto", "all", "auto"):
        compiled(model, keras.optimizers.SGD(0.0), local=local)
        seen.append(model.evaluate(x, y, verbose=0, return_dict=True)["lipschitz"])
    assert seen[1] < seen[0] and seen[2] == pytest.approx(seen[0], rel=1e-5)
    assert keraslip.LocalLipschitzModel.from_config(model.get_config()).local == "auto"
