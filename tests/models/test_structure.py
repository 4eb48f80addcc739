"""Dictionaries of one input and of one output, and models that are built from them."""

import keras
import numpy as np
import pytest

import keraslip
from keraslip.layers import ClippedReLU, MaskedLipschitzDense
from tests.models.nets import CLASSES, FEATURES, compiled, samples
from tests.models.test_fit_data import tf_data

X, Y = samples(16)
GIVEN = {
    "dictionary": ({"image": X}, {"logits": Y}),
    "dictionary of inputs": ({"image": X}, Y),
    "dictionary of targets": (X, {"logits": Y}),
    "lists": ([X], [Y]),
}


def net(inputs, outputs):
    """A model of tensors, lists or dictionaries."""
    keras.utils.set_random_seed(1)
    image = keras.Input((FEATURES,), name="image")
    x = ClippedReLU()(MaskedLipschitzDense(8)(image))
    logits = MaskedLipschitzDense(CLASSES, name="logits")(x)
    kinds = {
        "tensor": lambda t, name: t,
        "list": lambda t, _: [t],
        "dict": lambda t, name: {name: t},
    }
    ends = kinds[inputs](image, "image"), kinds[outputs](logits, "logits")
    return compiled(
        keraslip.LocalLipschitzModel(*ends), run_eagerly=keras.backend.backend() != "jax"
    )


@pytest.fixture(scope="module", params=["tensor-tensor", "dict-tensor", "dict-dict", "list-list"])
def model(request):
    return net(*request.param.split("-"))


@pytest.fixture(scope="module")
def plain():
    model = net("tensor", "tensor")
    answers = (
        model.estimate(X, Y, power_iterations=3).margin,
        model.certify(X, Y, workers=1, verbose=0),
    )
    logs = model.evaluate(X, Y, batch_size=16, verbose=0, return_dict=True)
    return model.predict(X, verbose=0), logs, *answers


@pytest.mark.parametrize("given", GIVEN)
def test_every_door_takes_them(model, plain, given):
    x, y = GIVEN[given]
    if given == "lists" and isinstance(model.input, dict):
        pytest.skip("Keras: a dictionary's model takes no list")
    logits, logs, margin, found = plain
    assert model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True) == pytest.approx(logs)
    model.reset_metrics()
    assert model.test_on_batch(x, y, return_dict=True) == pytest.approx(logs)
    estimate = model.estimate(x, y, power_iterations=3)
    np.testing.assert_allclose(estimate.margin, margin, rtol=1e-5)
    certified = model.certify(x, y, workers=1, verbose=0)
    np.testing.assert_array_equal(certified.certified, found.certified)
    np.testing.assert_array_equal(certified.label, found.label)
    weights = model.get_weights()
    history = model.fit(
        x, y, batch_size=8, verbose=0, validation_data=(x, y), sample_weight=np.ones(16)
    ).history
    assert np.isfinite(history["val_loss"]).all()
    model.set_weights(weights)


def test_streams_of_dictionaries(model, plain):
    stream = tf_data({"image": X}, {"logits": Y})
    logits, logs, margin, found = plain
    for key in ("accuracy", "certified_accuracy"):
        assert model.evaluate(stream, verbose=0, return_dict=True)[key] == pytest.approx(logs[key])
    certified = model.certify(stream, workers=1, verbose=0)
    np.testing.assert_array_equal(certified.certified, found.certified)


def test_what_takes_arrays_takes_such_a_model(model, plain, tmp_path):
    logits, _, _, found = plain
    x = {"image": X} if isinstance(model.input, dict) else X
    (predicted,) = keras.tree.flatten(model.predict(x, verbose=0))
    np.testing.assert_allclose(predicted, logits, rtol=1e-5, atol=1e-6)
    model.explain(x, power_iterations=2)
    assert model.local_lipschitz(x).shape == (16,)
    attacked = keraslip.attacks.pgd_l2(model, X, Y, 0.1, steps=2, restarts=2)
    assert keraslip.attacks.accuracy_under_attack(model, X, Y, 0.1, steps=2) <= 1.0
    assert attacked.shape == X.shape
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.certify(X, Y, workers=1, verbose=0).certified, found.certified
    )


WRONG = {
    "another key": ({"picture": X}, Y, "key 'image'"),
    "another target": (X, {"label": Y}, "key 'logits'"),
    "two targets": (X, {"logits": Y, "other": Y}, "key 'logits' alone"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_dictionaries_are_refused_in_words(model, case):
    x, y, message = WRONG[case]
    for ask in (model.fit, model.evaluate, model.estimate, model.certify, model.test_on_batch):
        with pytest.raises(ValueError, match=message):
            ask(x, y)


def test_more_inputs_than_the_models():
    more = {"image": X, "a": np.zeros((16, 2))}
    # As in Keras: a model of a tensor finds its own, one of a dictionary does not.
    net("tensor", "tensor").evaluate(more, Y, verbose=0)
    with pytest.raises(ValueError, match="key 'image'"):
        net("dict", "tensor").evaluate(more, Y, verbose=0)


def test_a_dictionary_without_labels():
    with pytest.raises(ValueError, match="[Ll]abels"):
        net("tensor", "tensor").fit(tf_data({"image": X}, Y).map(lambda x, y: {**x, "label": y}))
