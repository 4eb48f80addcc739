"""Files of an old revision load and answer the same; `make_saved.py` says how they were made."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keraslip
from keraslip.certify import check

HERE = Path(__file__).parent
EPSILON = 0.05


@pytest.fixture(scope="module")
def old():
    with np.load(HERE / "answers.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def model():
    return keras.models.load_model(HERE / "model.keras")


def test_a_model_answers_and_goes_on(model, old):
    np.testing.assert_allclose(model.predict(old["x"], verbose=0), old["logits"], atol=1e-5)
    assert model.epsilon_value == EPSILON and int(model.optimizer.iterations) == 6
    assert isinstance(model.robust_loss, keraslip.losses.BCPLoss)


def test_a_model_certifies_what_it_did(model, old):
    """Proofs may have become tighter, never looser; how far a sample is from one says less."""
    found = model.certify(old["x"], old["y"], EPSILON, verbose=False)
    np.testing.assert_array_equal(found.label, old["label"])
    known = old["certified"]
    assert (found.margin >= old["margin"] - 1e-6)[known].all()
    assert found.certified[known].all() and known.any()
    frozen = model.certify(old["x"], epsilon=EPSILON, effort="frozen", verbose=False)
    assert (frozen.margin >= old["frozen_margin"] - 1e-6).all()
    assert (frozen.lipschitz <= old["frozen_lipschitz"] * (1 + 1e-6)).all()


@pytest.mark.any_backend("NumPy alone")
def test_certificates_load_and_are_confirmed(old, monkeypatch, capsys):
    found = keraslip.Certificates.load(HERE / "certificates.npz")
    for name in ("label", "certified", "margin", "radius"):
        np.testing.assert_array_equal(getattr(found, name), old[name])
    # The first stage had the name of a bound.
    assert (found.status[old["status"] == "global"] == "slopes").all()
    # Files of that time hold no executed logits, so `--strict`, which asks for all, is not content.
    for strict in ([], ["--strict"]):
        monkeypatch.setattr(sys, "argv", ["check", str(HERE / "certificates.npz"), *strict])
        with pytest.raises(SystemExit) as stopped:
            check.main()
        said = capsys.readouterr().out
        assert stopped.value.code == len(strict), said
        assert "3 confirmed, 0 not confirmed, 0 contradicted" in said
        assert "holds no executed logits; save it again" in said


@pytest.mark.any_backend("onnxruntime alone")
def test_an_exported_graph_answers_the_same(old):
    onnxruntime = pytest.importorskip("onnxruntime")

    def run(name, **inputs):
        session = onnxruntime.InferenceSession(str(HERE / f"{name}.onnx"))
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))

    np.testing.assert_allclose(run("serve", x=old["x"])["logits"], old["logits"], atol=1e-5)
    found = run("certify", x=old["x"], epsilon=np.full(len(old["x"]), EPSILON, "float32"))
    for name in ("margin", "lipschitz"):
        np.testing.assert_allclose(found[name], old[f"frozen_{name}"], rtol=1e-5, atol=1e-5)
