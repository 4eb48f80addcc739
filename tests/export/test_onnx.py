"""ONNX files answer, in onnxruntime, with the model's own frozen certificates."""

import importlib.util
import json

import keras
import numpy as np
import pytest

from tests.export.test_saved_model import EPSILON, NETS, build

pytestmark = pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None for name in ("tensorflow", "tf2onnx", "onnxruntime")
    ),
    reason="ONNX needs tensorflow, tf2onnx and onnxruntime",
)


def test_onnx_answers_are_the_models(tmp_path):
    import onnxruntime

    keras.utils.set_random_seed(1)
    model = build(NETS["clipped_maxmin"], groups=1)
    model.export(tmp_path / "served", format="onnx", verbose=False)

    def session(name):
        return onnxruntime.InferenceSession(str(tmp_path / "served" / f"{name}.onnx"))

    x = np.random.default_rng(3).uniform(size=(7, 6, 7, 2)).astype("float32")
    (logits,) = session("serve").run(["logits"], {"x": x})
    np.testing.assert_allclose(logits, model.predict(x, verbose=0), atol=1e-5)
    names = ["label", "certified", "margin", "lipschitz"]
    certify = session("certify")
    each = np.linspace(0, 0.2, 7).astype("float32")
    found = dict(zip(names, certify.run(names, {"x": x, "epsilon": each}), strict=True))
    known = model.certify(x, epsilon=each, effort="frozen", batch_size=16)
    assert 0 < known.certified.sum() < len(x)
    for name in ("label", "certified"):
        np.testing.assert_array_equal(found[name], getattr(known, name))
    for name in ("margin", "lipschitz"):
        np.testing.assert_allclose(found[name], getattr(known, name), rtol=1e-5, atol=1e-5)
    x[0, 0, 0, 0] = np.nan
    radii = np.array([EPSILON, -EPSILON, np.inf, np.nan, 0, 0, 0], dtype="float32")
    (certified,) = certify.run(["certified"], {"x": x, "epsilon": radii})
    assert certified.tolist() == [False] * 4 + [True] * 3
    metadata = json.loads(certify.get_modelmeta().custom_metadata_map["keraslip"])
    assert metadata["guarantee"] == "proved"


def test_what_cannot_be_converted_is_said(tmp_path):
    with pytest.raises((NotImplementedError, RuntimeError), match="groups"):
        build(NETS["clipped_maxmin"]).export(tmp_path / "served", format="onnx", verbose=False)
    assert list(tmp_path.iterdir()) == []
