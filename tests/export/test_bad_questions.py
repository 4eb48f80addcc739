"""Every row of the table of bad questions in docs/export.md, asked of a SavedModel and of ONNX."""

import importlib.util
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keraslip
from tests.export.nets import assert_agree, build, images, on_tensorflow

pytestmark = on_tensorflow
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
TABLE = PAGE.split("## Bad questions")[1].split("## ONNX")[0]
ROWS = [tuple(part.strip() for part in row) for row in re.findall(r"\|(.*)\|(.*)\|(.*)\|", TABLE)]
ROWS = {question: {"SavedModel": a, "ONNX": b} for question, a, b in ROWS[2:]}
HAS_ONNX = all(importlib.util.find_spec(name) for name in ("tf2onnx", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="ONNX needs tf2onnx and onnxruntime")
BOTH = ["SavedModel", pytest.param("ONNX", marks=needs_onnx)]

X = images()[0]
EPSILON = 1e-3  # at which a good question about the first image is certified
RADII = np.full(len(X), EPSILON, "float32")


def spoiled(array, value):
    array = array.copy()
    array.flat[0] = value
    return array


QUESTIONS = {
    "images of another shape": [
        {"x": X[:, :5], "epsilon": RADII},
        {"x": X[..., :1], "epsilon": RADII},
        {"x": X.transpose(0, 2, 1, 3), "epsilon": RADII},  # as many numbers
        {"x": X.reshape(6, 12, 7, 2), "epsilon": RADII[:6]},
        {"x": X[0], "epsilon": RADII},
    ],
    "images of another dtype": [
        {"x": X.astype(dtype), "epsilon": RADII} for dtype in ("float64", "uint8", "float16")
    ],
    "epsilon of another dtype": [
        {"x": X, "epsilon": RADII.astype(dtype)} for dtype in ("float64", "int32")
    ],
    "epsilon missing": [{"x": X}],
    "an input of another name": [
        {"x": X, "radius": RADII},
        {"x": X, "epsilon": RADII, "radius": RADII},
    ],
    "epsilon of another length": [
        {"x": X, "epsilon": RADII[:3]},
        {"x": X[:3], "epsilon": RADII},
        {"x": X[:1], "epsilon": RADII},
        {"x": X, "epsilon": RADII[:, None]},
        {"x": X, "epsilon": RADII[:0]},
    ],
    "epsilon of length 1 for all images": [{"x": X, "epsilon": RADII[:1]}],
    "one number as epsilon": [{"x": X, "epsilon": RADII[0]}],
    "no images": [{"x": X[:0], "epsilon": RADII[:0]}],
    "epsilon negative": [{"x": X, "epsilon": spoiled(RADII, -EPSILON)}],
    "epsilon NaN": [{"x": X, "epsilon": spoiled(RADII, np.nan)}],
    "epsilon infinite": [
        {"x": X, "epsilon": spoiled(RADII, infinite)} for infinite in (np.inf, -np.inf)
    ],
    "NaN in an image": [{"x": spoiled(X, np.nan), "epsilon": RADII}],
    "infinity in an image": [
        {"x": spoiled(X, infinite), "epsilon": RADII} for infinite in (np.inf, -np.inf)
    ],
}


@pytest.fixture(scope="session")
def onnx(tmp_path_factory):
    """A model and its exported ONNX files."""
    model, path = build("clipped_maxmin", groups=1), tmp_path_factory.mktemp("onnx") / "served"
    model.export(path, format="onnx", verbose=False)
    return model, path


@pytest.fixture(scope="session")
def ask(exported, request):
    """Asks the `certify` of either artefact."""
    import tensorflow as tf

    path = exported["clipped_relu"].path
    saved_model = tf.saved_model.load(str(path)).signatures["certify"]

    def ask(kind, question):
        if kind == "SavedModel":
            tensors = {name: tf.constant(value) for name, value in question.items()}
            return {name: value.numpy() for name, value in saved_model(**tensors).items()}
        session = onnx_session(request.getfixturevalue("onnx")[1], "certify")
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, question), strict=True))

    return ask


def onnx_session(path, name):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong with a question is in the exception
    return onnxruntime.InferenceSession(str(path / f"{name}.onnx"), options)


def test_every_row_of_the_page_is_asked():
    assert ROWS.keys() == QUESTIONS.keys()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("row", ROWS)
def test_a_bad_question_is_answered_as_the_page_says(ask, kind, row):
    promised = ROWS[row][kind]
    good = ask(kind, {"x": X, "epsilon": RADII})
    assert good["certified"][0]
    for question in QUESTIONS[row]:
        if promised == "error":
            with pytest.raises(Exception, match="."):
                print(ask(kind, question))
            continue
        found = ask(kind, question)
        if promised == "no answers":
            assert all(len(answers) == 0 for answers in found.values())
        elif promised == "answered":
            assert all(np.array_equal(found[name], good[name]) for name in good)
        else:
            assert promised == "not certified"
            assert not found["certified"][0]
            # The other images do not suffer from it.
            np.testing.assert_array_equal(found["certified"][1:], good["certified"][1:])


@needs_onnx
def test_onnx_answers_are_the_models(ask, onnx):
    model, path = onnx
    (logits,) = onnx_session(path, "serve").run(["logits"], {"x": X})
    np.testing.assert_allclose(logits, model.predict(X, verbose=0), atol=1e-5)
    each = images()[1]
    known = model.certify(X, epsilon=each, effort="frozen", batch_size=16)
    assert 0 < known.certified.sum() < len(X)
    assert_agree(ask("ONNX", {"x": X, "epsilon": each}), known)


@needs_onnx
def test_onnx_comes_with_its_self_test(onnx):
    """As on the page."""
    with np.load(onnx[1] / "self_test.npz") as test:
        (logits,) = onnx_session(onnx[1], "serve").run(["logits"], {"x": test["x"]})
        for found, passes in ((logits, True), (logits.astype("float16"), False)):
            off = (found - test["logits"]) / test["scale"][:, None]
            assert (np.sqrt(np.mean(off**2)) / test["error"] <= test["limit"]) == passes


@needs_onnx
def test_onnx_files_say_what_they_are(onnx):
    for name in ("serve", "certify"):
        card = onnx_session(onnx[1], name).get_modelmeta().custom_metadata_map["keraslip"]
        assert card == json.dumps(json.loads((onnx[1] / "keraslip.json").read_text()))
        versions = json.loads(card)["versions"]
        assert {"tensorflow", "tf2onnx", "onnxruntime"} <= versions.keys()


@needs_onnx
def test_a_convolution_with_groups_is_refused(tmp_path):
    with pytest.raises(NotImplementedError, match="groups; export a SavedModel. Received: "):
        build("clipped_relu").export(tmp_path / "served", format="onnx", verbose=False)
    assert list(tmp_path.iterdir()) == []


@needs_onnx
def test_what_onnx_does_not_know_is_refused(tmp_path):
    """TensorFlow computes the exact GELU by erfc, which ONNX has not."""
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(2)(keras.layers.Dense(2, activation="gelu")(inputs))
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    model.compile("sgd", epsilon=0.1)
    with pytest.raises(NotImplementedError, match="GELU without approximate=True.*Erfc"):
        model.export(tmp_path / "served", format="onnx", verbose=False)
