"""Weights that come with the package are those of their card, and certify what it says."""

import hashlib
import os

import keras
import numpy as np
import pytest

from keraslip import applications, datasets
from keraslip.applications._weights import load_into, shipped
from tests.applications.publish import compiled, digest
from tests.docs.results_page import CARDS

files_alone = pytest.mark.any_backend("files, and arguments that are refused")


@files_alone
def test_digits_ship_and_every_file_has_its_card():
    assert "digits" in shipped()
    assert {p.stem for p in CARDS.glob("*.json")} == set(shipped())
    assert sum(p.stat().st_size for p in CARDS.iterdir()) < 4e6


def named(name):
    """The digits on every backend; of the others' files only TensorFlow reads some."""
    once = (
        () if name == "digits" or name == "cifar10" else pytest.mark.any_backend("the same numbers")
    )
    return pytest.param(name, marks=once)


@pytest.mark.parametrize("name", [*map(named, shipped())])
def test_a_slice_of_the_card_is_found_again(name):
    card = applications.card(name)
    if card["dataset"] != "digits" and "TFDS_DATA_DIR" not in os.environ:
        pytest.skip("TFDS_DATA_DIR is not set")
    try:
        data, model = datasets.load(card["dataset"]), compiled(name)
    except (FileNotFoundError, ImportError) as error:
        # Not prepared, or files of TensorFlow's, which only its session can read.
        pytest.skip(str(error))
    file = (CARDS / f"{name}.npz").read_bytes()
    assert hashlib.sha256(file).hexdigest() == card["weights"]["sha256"]
    for layer in model.layers:
        for value in layer.get_weights():
            np.testing.assert_array_equal(value, value.astype("float16").astype("float32"))
    count, certified = card["first"]["samples"], card["first"]["certified"]
    x, y = data.x_test[:count], data.y_test[:count]
    found = model.certify(x, y, verbose=False)
    got = int((found.certified & (found.label == y)).sum())
    if digest(x) == card["first"]["images"]:
        # Backends round logits differently: one image may lie between them.
        assert abs(got - certified) <= 1
    else:  # other images: four standard errors
        share = card["certified_accuracy"]
        assert abs(got - count * share) <= 4 * np.sqrt(count * share * (1 - share))


@files_alone
@pytest.mark.parametrize(
    ("build", "given", "words"),
    [
        (applications.MNIST4C3F, {}, "those of digits_2c2f"),
        (applications.Digits2C2F, {"width": 3.0}, "`width` is 1.0 in these weights: leave it out"),
        (
            applications.Digits2C2F,
            {"activation": "relu"},
            "`activation` is '.*Received: activation",
        ),
        (applications.Digits2C2F, {"classes": 3}, "leave `input_shape` and `classes` out"),
    ],
)
def test_weights_of_another_network_are_refused(build, given, words):
    with pytest.raises(ValueError, match=words):
        build(weights="digits", **given)


@files_alone
def test_a_card_that_is_not_there_and_layers_that_are_missing():
    with pytest.raises(ValueError, match="must be one of cifar10, digits, mnist"):
        applications.card("imagenet")
    inputs = keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match="another network"):
        load_into(keras.Model(inputs, inputs), "digits")
