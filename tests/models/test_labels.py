"""What is no label is never certified and never trained on; metrics see labels in one form."""

import keras
import numpy as np
import pytest

import keraslip
from tests.models.nets import (
    CLASSES,
    FEATURES,
    UNCOMPILED,
    compiled,
    dense_net,
    samples,
    weights_of,
)
from tests.models.test_fit_data import Batches, loader, tf_data

X, Y = samples(16)
ROWS = np.eye(CLASSES, dtype="float32")[Y]


def put(labels, index, value):
    labels = np.array(labels)
    labels[index] = value
    return labels


#: Labels with one in the second batch that is none.
BAD = {
    "negative": put(Y, 13, -1),
    "too large": put(Y, 13, CLASSES),
    "far too large": put(Y.astype("int64"), 13, 2**31 - 1),
    "in a column": put(Y, 13, -1)[:, None],
    "no row": put(ROWS, 13, 0.0),
    "two ones": put(ROWS, 13, [1.0, 1.0, 0.0]),
    "shares": put(ROWS, 13, [0.5, 0.5, 0.0]),
    "NaN": put(ROWS, 13, np.nan),
}
STREAMS = {"PyDataset": Batches, "tf.data": tf_data, "DataLoader": loader}


@pytest.fixture(scope="module")
def model():
    model = compiled(dense_net(), train_epsilon=0.1, **UNCOMPILED)
    # All logits far below zero: a label that is none, and so counts 0, would win by far.
    last = model.get_layer("logits")
    last.set_weights([0.1 * last.get_weights()[0], np.full(CLASSES, -50.0)])
    return model


@pytest.mark.parametrize("case", BAD)
def test_one_batch_is_checked_before_the_step(model, case):
    before = weights_of(model)
    for step in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match="Labels"):
            step(X, BAD[case])
    for a, b in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", ["negative", "too large", "two ones"])
def test_a_stream_with_a_bad_label_in_a_later_batch_is_an_error(model, case):
    with pytest.raises(ValueError, match="Received: 1 such samples"):
        model.evaluate(Batches(X, BAD[case]), verbose=0)
    # The next run begins anew.
    assert np.isfinite(model.evaluate(X, Y, verbose=0, return_dict=True)["loss"])


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_no_kind_of_stream_hides_a_bad_label(model, kind, method):
    stream = STREAMS[kind](X, BAD["negative"])
    with pytest.raises(ValueError, match="Received: 1 such samples"):
        getattr(model, method)(
            stream, verbose=0, shuffle=False
        ) if method == "fit" else model.evaluate(stream, verbose=0)


@pytest.mark.parametrize("case", BAD)
def test_a_step_certifies_nothing_without_a_label_and_learns_nothing_from_it(model, case):
    seen = {}

    class Logs(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.update(logs)

    with pytest.raises(ValueError, match="such samples"):
        model.evaluate(Batches(X, BAD[case]), verbose=0, callbacks=[Logs()])
    assert float(seen["loss"]) >= 0.0
    assert float(seen["certified_accuracy"]) <= 15 / 16
    assert float(seen["accuracy"]) <= 15 / 16


def test_what_has_no_label_moves_no_weight():
    found = []
    model = compiled(dense_net(), train_epsilon=0.1, power_iterations=60, sparsity=0.1)
    start = model.get_weights()
    for value, weight in ((-1, 1.0), (int(Y[13]), 0.0)):
        model.set_weights(start)
        weights = put(np.ones(16, "float32"), 13, weight)
        try:
            model.fit(Batches(X, put(Y, 13, value), weights), verbose=0, shuffle=False)
        except ValueError:
            assert value == -1
        found.append([np.array(keras.ops.convert_to_numpy(w)) for w in model.trainable_weights])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


KINDS = {
    "int64": Y.astype("int64"),
    "uint8": Y.astype("uint8"),
    "column": Y[:, None],
    "one-hot": ROWS,
    "one-hot float64": ROWS.astype("float64"),
    "one-hot int64": ROWS.astype("int64"),
    "one-hot bool": ROWS.astype(bool),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_kind_give_the_same_logs(model, kind):
    expected = model.evaluate(X, Y, batch_size=16, verbose=0, return_dict=True)
    found = model.evaluate(X, KINDS[kind], batch_size=16, verbose=0, return_dict=True)
    assert found == pytest.approx(expected, rel=1e-5)
    model.reset_metrics()
    found = model.test_on_batch(X, KINDS[kind], return_dict=True)
    assert found == pytest.approx(expected, rel=1e-5)


METRICS = {
    "accuracy": ["accuracy"],
    "sparse": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    "one-hot": [keras.metrics.CategoricalAccuracy(name="accuracy")],
    "function": [keras.metrics.sparse_categorical_accuracy],
}


#: How Keras looks metrics up is the same on every backend; what is done to labels is seen with two of them.
LOOKED_UP = [
    pytest.param(name, marks=pytest.mark.any_backend("a metric that Keras looks up"))
    for name in ("one-hot", "function")
]


@pytest.mark.parametrize("first", ["one-hot", "indices"])
@pytest.mark.parametrize("metrics", ["accuracy", "sparse", *LOOKED_UP])
def test_labels_of_both_forms_have_the_same_metrics(metrics, first):
    given = [ROWS, Y] if first == "one-hot" else [Y, ROWS]
    model = compiled(dense_net(), metrics=METRICS[metrics], **UNCOMPILED)
    logits = model.predict(X, batch_size=16, verbose=0)
    right = (logits.argmax(axis=1) == Y).mean()
    for y in given:
        logs = model.evaluate(X, y, batch_size=16, verbose=0, return_dict=True)
        (found,) = [
            value for name, value in logs.items() if "acc" in name and "certified" not in name
        ]
        assert found == pytest.approx(right)


def test_fit_on_rows_and_validate_on_indices():
    model = compiled(dense_net(), weighted_metrics=["accuracy"], metrics=None)
    history = model.fit(
        X, ROWS, batch_size=8, verbose=0, validation_data=(X, Y, np.ones(16, "float32"))
    ).history
    right = (model.predict(X, batch_size=16, verbose=0).argmax(axis=1) == Y).mean()
    assert history["val_accuracy"][-1] == pytest.approx(right)


def test_metrics_that_want_labels_in_two_forms_are_refused():
    with pytest.raises(ValueError, match="all want one-hot"):
        compiled(dense_net(), metrics=["sparse_categorical_accuracy", "categorical_accuracy"])


def test_metrics_of_ones_own_see_the_form_that_came_first():
    shapes = []

    def mine(y, logits):
        shapes.append(tuple(y.shape))
        return keras.ops.mean(logits, axis=-1)

    model = compiled(dense_net(), metrics=[mine], **UNCOMPILED)
    model.test_on_batch(X, ROWS)
    model.test_on_batch(X, Y)
    assert set(shapes) == {(16, CLASSES)}


def test_losses_of_ones_own_see_labels_as_they_were_given():
    seen = []

    class Mine(keras.losses.Loss):
        def call(self, y, pair):
            seen.append(tuple(y.shape))
            return pair[1][:, 0] ** 2

    model = compiled(dense_net(), loss=Mine(), **UNCOMPILED)
    for y in (Y, Y[:, None], ROWS):
        model.test_on_batch(X, y)
    assert seen == [(16,), (16, 1), (16, CLASSES)]


def test_estimates_of_a_single_feature_and_two_classes():
    inputs = keras.Input((FEATURES,))
    net = keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(2)(inputs))
    two = compiled(net, **UNCOMPILED)
    logs = two.evaluate(X, np.eye(2)[Y % 2], verbose=0, return_dict=True)
    assert logs == pytest.approx(two.evaluate(X, Y % 2, verbose=0, return_dict=True), rel=1e-5)
