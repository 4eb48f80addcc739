"""The options of `compile` and `fit` that Keras has keep their meaning."""

import keras
import numpy as np
import pytest
from scipy.special import logsumexp

import keraslip
from tests.models.nets import (
    CLASSES,
    FEATURES,
    FIT_LOGS,
    LOGS,
    assert_same,
    compiled,
    conv_net,
    dense_net,
    ready,
    samples,
    weights_of,
)

TORCH = keras.backend.backend() == "torch"


def trained(x, y, fit=None, net=dense_net, **kwargs):
    """A model after two epochs, and its history."""
    keras.utils.set_random_seed(1)
    # Options that are objects are not shared.
    shared = net is dense_net and all(isinstance(v, int | float | str) for v in kwargs.values())
    model = ready(**kwargs) if shared else compiled(net(), **kwargs)
    options = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0, **(fit or {})}
    return model, model.fit(x, y, **options).history


def trainable(model):
    return [np.array(keras.ops.convert_to_numpy(w)) for w in model.trainable_weights]


@pytest.mark.parametrize(
    "options",
    [
        {"jit_compile": False},
        pytest.param({"jit_compile": True}, marks=pytest.mark.skipif(TORCH, reason="no XLA")),
        {"run_eagerly": True},
        pytest.param(
            {"steps_per_execution": 3}, marks=pytest.mark.skipif(TORCH, reason="Keras: 1")
        ),
    ],
    ids=str,
)
def test_ways_to_run_a_step_give_the_same_model(options):
    x, y = samples()
    expected, history = trained(x, y)
    model, other = trained(x, y, **options)

    assert set(other) == FIT_LOGS
    assert_same(trainable(model), trainable(expected), 1e-5)
    for key in LOGS:
        np.testing.assert_allclose(other[key], history[key], rtol=1e-3, atol=1e-5)


def test_a_convolution_trains_with_the_defaults_of_the_backend():
    x, y = samples(shape=(8, 8, 1))
    model = conv_net()
    model.compile("adam", epsilon=0.1, sparsity=0.01)
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    assert set(history) == FIT_LOGS
    assert np.isfinite(history["loss"]).all()


def test_one_hot_labels_train_as_class_indices_do():
    x, y = samples()
    sparse, history = trained(x, y)
    one_hot, other = trained(x, np.eye(3, dtype="float32")[y])
    assert_same(weights_of(one_hot), weights_of(sparse), 1e-6)
    assert {k: v[-1] for k, v in other.items()} == pytest.approx(
        {k: v[-1] for k, v in history.items()}, rel=1e-5
    )


def test_whole_weights_repeat_samples():
    x, y = samples(8)
    counts = np.array([1, 2, 1, 1, 3, 1, 1, 2])
    once = {"epochs": 1, "batch_size": 12}
    # Many iterations: a norm then depends on its own sample alone, not on who shares the batch.
    converged = {"power_iterations": 60, "train_epsilon": 0.1}
    weighted, _ = trained(x, y, {**once, "sample_weight": counts * 8 / 12}, **converged)
    repeated, _ = trained(x.repeat(counts, 0), y.repeat(counts, 0), once, **converged)
    assert_same(trainable(weighted), trainable(repeated), 1e-5)


def test_class_weight_is_the_weight_of_a_classs_samples():
    x, y = samples()
    by_class = {0: 0.5, 1: 2.0, 2: 1.0}
    weights = np.array([by_class[int(label)] for label in y], "float32")
    first, history = trained(x, y, {"class_weight": by_class})
    second, other = trained(x, y, {"sample_weight": weights})
    plain, _ = trained(x, y)
    assert_same(weights_of(first), weights_of(second), 1e-6)
    assert history["loss"] == pytest.approx(other["loss"], rel=1e-5)
    assert not np.allclose(trainable(first)[0], trainable(plain)[0], atol=1e-4)


@pytest.mark.parametrize("bound", ["local", "global"])
def test_a_sample_of_weight_zero_has_no_influence(bound):
    x, y = samples(8)
    other_x, other_y = x.copy(), y.copy()
    other_x[5], other_y[5] = 1.0 - x[5], (y[5] + 1) % 3
    weights = np.ones(8, "float32")
    weights[5] = 0.0
    once = {"epochs": 1, "batch_size": 8, "sample_weight": weights}
    options = {"bound": bound, "power_iterations": 60, "train_epsilon": 0.1, "sparsity": 0.01}
    model, _ = trained(x, y, once, **options)
    changed, _ = trained(other_x, other_y, once, **options)
    counted, _ = trained(other_x, other_y, {"epochs": 1, "batch_size": 8}, **options)
    assert_same(trainable(model), trainable(changed), 2e-6)
    assert not np.allclose(trainable(model)[0], trainable(counted)[0], atol=1e-4)


def test_accumulated_gradients_are_one_step_of_the_larger_batch():
    x, y = samples()
    loss = keraslip.losses.BCPLoss(kappa=0.3)
    options = {"train_epsilon": 0.1, "power_iterations": 60, "loss": loss}
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    several, _ = trained(x, y, {"epochs": 1}, optimizer=optimizer, **options)
    whole, _ = trained(
        x, y, {"epochs": 1, "batch_size": 24}, optimizer=keras.optimizers.SGD(0.1), **options
    )
    assert_same(trainable(several), trainable(whole), 1e-5)


def test_users_metrics_see_the_clean_logits():
    x, y = samples()
    weights = (np.arange(24) % 2).astype("float32")
    model, history = trained(
        x,
        y,
        {"sample_weight": weights, "validation_data": (x, y, weights)},
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="half")],
    )
    own = (LOGS - {"accuracy"}) | {"top2", "half"}
    assert set(history) == own | {"lipschitz_gap"} | {f"val_{key}" for key in own}
    logits = model.predict(x, verbose=0)
    assert history["val_half"][-1] == pytest.approx((logits.argmax(1) == y)[1::2].mean())
    second = np.sort(logits, axis=1)[:, 1]
    assert history["val_top2"][-1] == pytest.approx((logits[range(24), y] >= second).mean())


def test_callbacks_see_every_log_and_may_stop_the_run():
    x, y = samples()

    class Stop(keras.callbacks.Callback):
        seen: list = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(dict(logs))
            self.model.stop_training = epoch == 1

    stop = Stop()
    _, history = trained(x, y, {"epochs": 5, "callbacks": stop})
    assert len(history["loss"]) == len(stop.seen) == 2
    assert all(set(logs) == FIT_LOGS for logs in stop.seen)


@pytest.mark.parametrize(
    ("loss", "bound"),
    [
        (keraslip.losses.GloRoLoss(), "paper"),
        (keraslip.losses.TradesLoss(beta=2.0), "paper"),
        (keraslip.losses.TradesLoss(beta=2.0, predicted=True), "global"),
        (keraslip.losses.EMMALoss(), "global"),
        (keraslip.losses.CertifiedRadiusLoss(), "global"),
        (keraslip.losses.CalibratedLipschitzMarginLoss(), "global"),
        (keraslip.losses.LogitAnnealingLoss(offset=0.5), "global"),
    ],
    ids=lambda v: getattr(v, "name", v),
)
def test_every_loss_and_bound_trains(loss, bound):
    x, y = samples()
    optimizer = keras.optimizers.Adam(0.02)
    options = {"loss": loss, "bound": bound, "optimizer": optimizer, "train_epsilon": 0.02}
    _, history = trained(x, y, {"epochs": 30}, **options)
    assert set(history) == FIT_LOGS
    assert history["loss"][-1] < 0.9 * history["loss"][0]


@pytest.mark.parametrize("predicted", [False, True])
def test_trades_takes_the_worst_case_against_the_class_that_it_says(predicted):
    inputs = keras.Input((FEATURES,))
    model = keraslip.LocalLipschitzModel(inputs, keras.layers.Dense(CLASSES)(inputs))
    x, _ = samples()
    # The labels are not what is predicted.
    weights = np.outer(np.arange(1.0, FEATURES + 1.0), [0.3, -0.2, 0.5]).astype("float32")
    model.layers[-1].set_weights([weights, np.zeros(CLASSES, "float32")])
    logits = x @ weights
    y = (logits.argmax(axis=1) + 1) % CLASSES
    loss = keraslip.losses.TradesLoss(beta=3.0, predicted=predicted)
    compiled(model, epsilon=0.1, loss=loss)
    top = logits.argmax(axis=1) if predicted else y
    pairs = np.linalg.norm(weights[:, :, None] - weights[:, None, :], axis=0)
    worst = logits + 0.1 * pairs[top]
    worst[np.arange(len(y)), top] = -np.inf
    extended = np.concatenate([logits, worst.max(axis=1, keepdims=True)], axis=1)
    clean = logsumexp(logits, axis=1)
    expected = clean - logits[np.arange(len(y)), y] + 3.0 * (logsumexp(extended, axis=1) - clean)
    found = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(expected.mean(), rel=1e-4)


def test_positional_arguments_are_those_of_keras():
    x, y = samples()
    keras.utils.set_random_seed(1)
    model = compiled(dense_net())
    history = model.fit(x, y, 12, 3, 0)
    assert len(history.epoch) == 3
    assert int(model.optimizer.iterations) == 6
    assert len(model.evaluate(x, y, 12, 0)) == len(LOGS)
