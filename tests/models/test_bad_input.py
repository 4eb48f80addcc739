"""Bad input gets a clear error, before anything is trained."""

import math
import warnings

import keras
import numpy as np
import pytest

import keraslip
from keraslip.input_range import RangeWarning
from tests.models.nets import (
    CLASSES,
    FEATURES,
    compiled,
    dense_net,
    samples,
    weights_of,
)

X, Y = samples(16)


@pytest.fixture(scope="module")
def model():
    return compiled(dense_net())


def changed(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


BAD_DATA = {
    "label too large": (X, changed(Y, 13, CLASSES), r"0\.\.2.*labels from 0 to 3"),
    "label negative": (X, changed(Y, 13, -1), "0..2"),
    "float labels": (X, Y.astype("float32"), r"integers.*astype.*float32"),
    "labels in words": (X, np.array(["cat", "dog", "owl"])[Y], r"integers.*np\.unique"),
    "labels of another shape": (X, np.zeros((16, 2), "int32"), r"\(16, 2\)"),
    "labels with three axes": (X, np.zeros((16, 1, 1), "int32"), "shape"),
    "rows that are not one-hot": (X, np.full((16, CLASSES), 1 / 3, "float32"), "one-hot"),
    "rows with two ones": (X, changed(np.eye(3)[Y], 9, [1, 1, 0]), "one-hot"),
    "NaN in the inputs": (changed(X, (11, 2), np.nan), Y, "NaN.*index 11"),
    "infinity in the inputs": (changed(X, (3, 0), np.inf), Y, "infinity.*index 3"),
    "another number of features": (X[:, :4], Y, r"\(batch, 6\).*\(16, 4\)"),
    "another number of axes": (X[:, :, None], Y, r"\(16, 6, 1\)"),
    "lengths that differ": (X, Y[:9], "16 and 9"),
    "empty arrays": (X[:0], Y[:0], "empty"),
    "no labels": (X, None, "[Ll]abels"),
}


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("case", BAD_DATA)
def test_arrays_are_checked_whole(model, case, method):
    x, y, message = BAD_DATA[case]
    before = weights_of(model)
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(x, y, batch_size=8, verbose=0)
    for a, b in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", BAD_DATA)
def test_validation_data_are_checked_before_training(model, case):
    x, y, message = BAD_DATA[case]
    before = weights_of(model)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, batch_size=8, verbose=0, validation_data=(x, y))
    for a, b in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(a, b)


class _Batches(keras.utils.PyDataset):
    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def _tf_data(x, y):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(8)


def _loader(x, y):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(np.asarray(y)))
    return torch.utils.data.DataLoader(data, batch_size=8)


STREAMS = {
    "PyDataset": lambda x, y: _Batches((x, y)),
    "generator": lambda x, y: (batch for batch in [(x, y)]),
    "tf.data": _tf_data,
    "DataLoader": _loader,
}
IN_FIRST_BATCH = {
    "label out of range": (X, changed(Y, 1, 7), "labels from"),
    "float labels": (X, Y.astype("float32"), "integers"),
    "NaN": (changed(X, (2, 0), np.nan), Y, "NaN.*index 2"),
    "another shape": (X[:, :5], Y, r"\(batch, 6\)"),
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("case", IN_FIRST_BATCH)
def test_streams_are_checked_on_their_first_batch(model, stream, case):
    x, y, message = IN_FIRST_BATCH[case]
    with pytest.raises(ValueError, match=message):
        model.fit(STREAMS[stream](x, y), shuffle=False, verbose=0)


def test_a_stream_without_labels(model):
    with pytest.raises(ValueError, match="[Ll]abels"):
        model.fit(_Batches(X[:8]), verbose=0)


@pytest.mark.parametrize("kind", ["PyDataset", "generator", "tf.data", "DataLoader", "drop_last"])
def test_a_data_set_too_small_for_one_batch(model, kind):
    if kind in ("tf.data", "drop_last"):
        pytest.importorskip({"tf.data": "tensorflow", "drop_last": "torch"}[kind])
    if kind == "tf.data":
        data = _tf_data(X[:5], Y[:5]).unbatch().batch(8, drop_remainder=True)
    elif kind in ("DataLoader", "drop_last"):
        torch = pytest.importorskip("torch")
        count = 5 if kind == "drop_last" else 0
        parts = torch.from_numpy(X[:count]), torch.from_numpy(Y[:count])
        data = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(*parts), batch_size=8, drop_last=kind == "drop_last"
        )
    else:
        data = _Batches() if kind == "PyDataset" else (batch for batch in ())
    with pytest.raises(ValueError, match="too small for one batch|empty"):
        model.fit(data, shuffle=False, verbose=0)


@pytest.mark.parametrize("epsilon", [-0.1, math.nan, math.inf, "0.1", True, [0.1], None], ids=repr)
def test_epsilon_must_be_a_number_that_is_not_negative(epsilon):
    with pytest.raises(ValueError, match="epsilon"):
        dense_net().compile("sgd", epsilon=epsilon)


@pytest.mark.parametrize("epsilon", [0, 1, 0.5, np.float32(0.25), np.int64(2)], ids=repr)
def test_numbers_of_every_kind_are_an_epsilon(epsilon):
    model = dense_net()
    model.compile("sgd", epsilon=epsilon)
    assert model.epsilon_value == float(epsilon)
    assert model.estimate(X, Y, epsilon=epsilon, power_iterations=2).epsilon == float(epsilon)


BAD_OPTIONS = {
    "bound": ({"bound": "lokal"}, "local.*lokal"),
    "power_iterations 0": ({"power_iterations": 0}, ">= 1"),
    "power_iterations True": ({"power_iterations": True}, ">= 1"),
    "power_iterations 1.5": ({"power_iterations": 1.5}, ">= 1"),
    "loss by an unknown name": ({"loss": "hinge"}, "gloro, bcp, trades.*GloRoLoss.*hinge"),
    "loss of Keras": (
        {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        "worst-case logits",
    ),
    "sparsity": ({"sparsity": -1.0}, "sparsity"),
    "train_epsilon": ({"train_epsilon": -0.5}, "train_epsilon"),
    "train_epsilon by name": ({"train_epsilon": "ramp"}, "train_epsilon"),
    "input_range": ({"input_range": (1.0, 0.0)}, "input_range"),
    "input_range as text": ({"input_range": "01"}, "input_range.*two finite numbers"),
    "input_range of texts": ({"input_range": ("0", "1")}, "input_range.*two finite numbers"),
    "input_range of one": ({"input_range": 1.0}, "input_range.*two finite numbers"),
    "input_range of three": ({"input_range": (0, 1, 2)}, "input_range.*two finite numbers"),
    "input_range with NaN": ({"input_range": (0, math.nan)}, "input_range.*two finite numbers"),
    "loss_weights": ({"loss_weights": [0.5]}, "loss_weights.*sample_weight"),
    "metrics by a bare name": ({"metrics": "accuracy"}, "metrics"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_of_compile(case):
    options, message = BAD_OPTIONS[case]
    with pytest.raises(ValueError, match=message):
        dense_net().compile("sgd", epsilon=0.1, **options)


@pytest.mark.parametrize("given", [[0, 2], np.array([0.0, 2.0]), (np.float32(0), np.int64(2))])
def test_input_ranges_of_every_kind(given):
    model = dense_net()
    model.compile("sgd", epsilon=0.1, input_range=given)
    assert model.input_range == (0.0, 2.0)
    attacked = keraslip.attacks.pgd_l2(model, X[:2], Y[:2], 0.1, steps=1, input_range=given)
    assert attacked.shape == X[:2].shape


@pytest.mark.parametrize("given", ["01", ("0", "1"), 1.0, (1, 0), (0, math.nan)], ids=repr)
def test_attacks_refuse_the_same_ranges(model, given):
    with pytest.raises(ValueError, match="input_range"):
        keraslip.attacks.pgd_l2(model, X[:2], Y[:2], 0.1, steps=1, input_range=given)


def test_an_estimate_prints_as_one_line(model):
    found = model.estimate(X, Y)
    assert str(found).startswith(f"16 samples, epsilon {found.epsilon:.4g} (L2, raw input units)")
    assert f"certified accuracy {found.certified_accuracy:.1%}" in str(found)
    assert str(found).endswith("; estimate (power iteration)") and "\n" not in str(found)


def test_numpy_integers_count_as_integers(model):
    two = np.int64(2)
    model.estimate(X, Y, power_iterations=two, batch_size=np.int32(8))
    model.explain(X, power_iterations=two)
    found = model.certify(X[:2], Y[:2], workers=two, batch_size=two, verbose=0)
    assert len(found) == 2 and len(model.local_lipschitz(X[:2], batch_size=two)) == 2
    keraslip.attacks.pgd_l2(model, X[:2], Y[:2], np.float32(0.1), steps=two, restarts=two)
    monitor = {"samples": two, "power_iterations": two, "every": two, "tensorboard": False}
    keraslip.callbacks.LipschitzMonitor("unused", X, **monitor)
    other = dense_net()
    other.compile("sgd", epsilon=two, power_iterations=two, sparsity=np.float32(0))
    assert other.get_compile_config()["power_iterations"] == 2
    assert keraslip.losses.BCPLoss(np.float32(0.5)).kappa == 0.5
    assert keraslip.losses.TradesLoss(np.float32(0.5)).beta == 0.5


def test_without_an_epsilon_there_is_no_estimate():
    bare = dense_net()
    for ask in (bare.estimate, bare.explain, bare.certify, bare.local_lipschitz):
        with pytest.raises(ValueError, match="Pass epsilon"):
            ask(X)


@pytest.mark.parametrize(
    "data",
    [(X,), [X], (X, None), (X, Y, np.ones(16), X), X],
    ids=["one", "list", "None", "4", "array"],
)
def test_validation_data_in_too_few_parts(model, data):
    with pytest.raises(ValueError, match="[Ll]abels"):
        model.fit(X, Y, batch_size=8, verbose=0, validation_data=data)


def test_everything_frozen():
    frozen = compiled(dense_net())
    for layer in frozen.layers:
        layer.trainable = False
    compiled(frozen)
    for train in (frozen.fit, frozen.train_on_batch):
        with pytest.raises(ValueError, match="every weight is frozen"):
            train(X, Y)
    assert frozen.evaluate(X, Y, verbose=0, return_dict=True)["loss"] > 0


BAD_ESTIMATES = {
    "epsilon": ({"epsilon": -1.0}, "epsilon"),
    "bound": ({"bound": "tight"}, "bound"),
    "power_iterations": ({"power_iterations": 0}, "power_iterations"),
    "batch_size": ({"batch_size": 0}, "batch_size"),
}


@pytest.mark.parametrize("case", BAD_ESTIMATES)
def test_bad_options_of_estimate(model, case):
    options, message = BAD_ESTIMATES[case]
    with pytest.raises(ValueError, match=message):
        model.estimate(X, Y, **options)


@pytest.mark.parametrize("case", [case for case in BAD_DATA if case != "no labels"])
def test_estimate_checks_its_data(model, case):
    x, y, message = BAD_DATA[case]
    with pytest.raises(ValueError):
        model.estimate(x, y)


@pytest.mark.parametrize(
    "case", [case for case in BAD_DATA if "label" not in case and "rows" not in case]
)
def test_explain_checks_its_data(model, case):
    x, y, _ = BAD_DATA[case]
    if case == "lengths that differ":
        pytest.skip("no labels")
    with pytest.raises(ValueError, match="x "):
        model.explain(x)


@pytest.mark.parametrize(
    "x",
    [X[0], X.astype("complex64"), np.full((2, FEATURES), "1"), 1e39 * X.astype("float64")],
    ids=["one", "complex", "text", "large"],
)
def test_inputs_that_are_no_batch_of_numbers(model, x):
    for ask in (model.estimate, model.explain, model.certify, model.local_lipschitz):
        with pytest.raises(ValueError, match="x (must|holds)"):
            ask(x)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_compile_comes_first(method):
    with pytest.raises(ValueError, match="compile"):
        getattr(dense_net(), method)(X, Y, verbose=0)


def ending_in(*layers):
    inputs = keras.Input((FEATURES,))
    x = keraslip.layers.MaskedLipschitzDense(CLASSES)(inputs)
    for layer in layers:
        x = layer(x)
    return keraslip.LocalLipschitzModel(inputs, x)


NOT_LINEAR = {
    "fused softmax": lambda: ending_in(keras.layers.Dense(3, activation="softmax")),
    "log softmax": lambda: ending_in(keras.layers.Dense(3, activation="log_softmax")),
    "several sigmoids": lambda: ending_in(keras.layers.Dense(3, activation="sigmoid")),
    "Softmax": lambda: ending_in(keras.layers.Softmax()),
    "Activation": lambda: ending_in(keras.layers.Activation("softmax")),
    "fused relu": lambda: ending_in(keras.layers.Dense(3, activation="relu")),
    "ReLU": lambda: ending_in(keras.layers.ReLU()),
    "ClippedReLU": lambda: ending_in(keraslip.layers.ClippedReLU()),
}


@pytest.mark.parametrize("case", NOT_LINEAR)
def test_the_last_layer_must_be_linear(case):
    with pytest.raises(ValueError, match="must end in a linear layer.*from_keras"):
        NOT_LINEAR[case]().compile("sgd", epsilon=0.1)
    assert not keraslip.check_model(NOT_LINEAR[case]())


def test_one_logit_is_no_classifier():
    with pytest.raises(ValueError, match="two classes.*regression has not.*from_keras"):
        ending_in(keras.layers.Dense(1)).compile("sgd", epsilon=0.1)


@pytest.mark.parametrize("guarantee", ["proved", "estimate"])
@pytest.mark.parametrize(("units", "kind"), [(3, "softmax"), (1, "sigmoid")])
def test_certificates_are_not_about_probabilities(units, kind, guarantee):
    net = ending_in(keras.layers.Dense(units, activation=kind))
    x = np.zeros((2, *net.input_shape[1:]), "float32")
    with pytest.raises(ValueError, match="keraslip.from_keras"):
        net.certify(x, [0, 1], epsilon=0.1, guarantee=guarantee)
    assert keraslip.from_keras(net).certify(x, [0, 1], epsilon=0.1, verbose=False).status.size == 2


def test_an_image_of_unknown_size_is_refused():
    inputs = keras.Input((None, None, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3)(inputs))
    net = keraslip.LocalLipschitzModel(inputs, keras.layers.Dense(3)(x))
    with pytest.raises(NotImplementedError, match="size"):
        net.compile("sgd", epsilon=0.1)


@pytest.mark.parametrize("of", ["arrays", "a stream"])
def test_fit_warns_of_inputs_in_another_unit_than_the_range(of):
    draw = np.random.default_rng(0)
    bytes_, y = draw.integers(0, 256, (16, FEATURES)).astype("uint8"), Y
    given = (bytes_, y) if of == "arrays" else (keraslip.datasets.ShuffledBatches(bytes_, y, 16),)
    net = compiled(dense_net())
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        net.fit(*given, shuffle=False, verbose=0)
    (told,) = [one for one in found if one.category is RangeWarning]
    assert "inputs from 0 to 1 (input_range), and these lie from 0 to 255" in str(told.message)
    assert told.filename == __file__


@pytest.mark.parametrize(
    ("epsilon", "given", "wide"),
    [
        (36.0, (0.0, 1.0), True),
        (36.0, (0.0, 255.0), False),
        (36.0, None, False),
        (0.51 * FEATURES**0.5, (0.0, 1.0), True),
        (0.49 * FEATURES**0.5, (0.0, 1.0), False),
    ],
)
def test_fit_warns_of_an_epsilon_that_no_classifier_can_keep(epsilon, given, wide):
    net = compiled(dense_net(), epsilon=epsilon, input_range=given)
    x = np.random.default_rng(0).random((16, FEATURES), dtype="float32")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        net.fit(x, Y, verbose=0)
    told = [one for one in found if "at least half of" in str(one.message)]
    assert [one.category for one in told] == [RangeWarning] * wide
    assert all(one.filename == __file__ for one in told)


@pytest.mark.parametrize("door", ["evaluate", "estimate", "explain", "certify", "local_lipschitz"])
def test_every_door_tells_of_it_once(door, capsys):
    net = compiled(dense_net())
    bytes_ = np.random.default_rng(0).integers(0, 256, (4, FEATURES)).astype("float32")
    calls = {
        "evaluate": lambda: net.evaluate(bytes_, Y[:4], verbose=0),
        "estimate": lambda: net.estimate(bytes_),
        "explain": lambda: net.explain(bytes_),
        "certify": lambda: net.certify(bytes_, guarantee="estimate", verbose=False),
        "local_lipschitz": lambda: net.local_lipschitz(bytes_, guarantee="estimate"),
    }
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        calls[door]()
    (told,) = [one for one in found if one.category is RangeWarning]
    assert told.filename == __file__
    capsys.readouterr()


@pytest.mark.any_backend("an argument is looked at, nothing computed")
@pytest.mark.parametrize(
    "call", [keraslip.check_model, keraslip.float32_copy, keraslip.convert.check_plain]
)
def test_a_path_is_no_model(call):
    with pytest.raises(TypeError, match="load_model.*Received: 'mine.keras'"):
        call("mine.keras")
