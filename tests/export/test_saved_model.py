"""SavedModels answer with the model's own frozen certificates."""

import json

import keras
import numpy as np
import pytest

import keraslip
from tests.export.nets import EPSILON, assert_agree, images, needs_tensorflow

pytestmark = needs_tensorflow


def frozen(model, epsilon):
    return model.certify(images()[0], epsilon=epsilon, effort="frozen", batch_size=16)


def test_answers_are_the_models_frozen_certificates(served):
    _, each = images()
    known = frozen(served.model, EPSILON)
    assert 0 < known.certified.sum()
    assert_agree(served.said["one"], known)
    assert_agree(served.said["signature"], known)
    known = frozen(served.model, each)
    assert_agree(served.said["each"], known)
    assert_agree(served.said["signature each"], known)


def test_a_batch_of_one_is_answered_as_in_a_batch_of_many(served):
    for name, value in served.said["single"].items():
        assert value == pytest.approx(served.said["one"][name][:1], rel=1e-6)


def test_outputs_have_the_documented_types(served):
    assert served.said["types"] == {
        "label": "int32",
        "certified": "bool",
        "margin": "float32",
        "lipschitz": "float32",
    }


def test_never_certified_where_the_full_certifier_is_not(served):
    full = served.model.certify(images()[0], epsilon=EPSILON, batch_size=16)
    assert (full.certified >= np.array(served.said["one"]["certified"])).all()


def test_serve_and_serving_default_are_the_logits(served):
    logits = served.model.predict(images()[0], verbose=0)
    np.testing.assert_allclose(served.said["logits"], logits, atol=1e-5)
    assert list(served.said["default"]) == ["logits"]
    np.testing.assert_allclose(served.said["default"]["logits"], logits, atol=1e-5)


def test_what_is_served_passes_its_self_test(served):
    assert served.said["self_test"]["passed"] and 0 < served.said["self_test"]["ratio"] < 5
    strict = served.said["self_test 0"]
    assert not strict["passed"] and strict["ratio"] == served.said["self_test"]["ratio"]
    with np.load(served.path / "self_test.npz") as test:
        assert test["x"].shape == (8, 6, 7, 2) and test["limit"] == 30
        logits = served.model.predict(test["x"], verbose=0)
        off = (logits - test["logits"]) / test["scale"][:, None]
        assert np.sqrt(np.mean(off**2)) < 5 * test["error"]


def test_the_artefact_says_what_it_is(served):
    card = json.loads((served.path / "keraslip.json").read_text())
    for metadata in (served.said["metadata"], card):
        assert metadata["guarantee"] == "proved"
        assert metadata["effort"] == "frozen"
        assert metadata["arithmetic"] == "float32"
        assert metadata["epsilon"] == pytest.approx(EPSILON)
        assert metadata["input_range"] == [0.0, 1.0]
        assert metadata["backend"] == keras.backend.backend()
        assert metadata["versions"]["keraslip"] == keraslip.__version__
        assert metadata["versions"]["tensorflow"]


def test_nothing_is_overwritten_and_no_working_folder_is_left(served):
    with pytest.raises(FileExistsError, match="choose another path"):
        served.model.export(served.path)
    assert not list(served.path.parent.glob(".*"))
