"""The independent checker confirms what is right and contradicts what is not."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keraslip
from keraslip.certify import check, evidence

EPSILON = 0.03


def build(activation):
    """A small network with a branch."""
    inputs = keras.Input((5, 5, 1))
    x = keraslip.layers.MaskedLipschitzConv2D(4, 3, padding="same")(inputs)
    x = activation()(x)
    x = keras.layers.Add()([x, keraslip.layers.MaskedLipschitzConv2D(4, 3, padding="same")(x)])
    x = activation()(x)
    x = keras.layers.Flatten()(x)
    x = keraslip.layers.MaskedLipschitzDense(8)(x)
    x = activation()(x)
    outputs = keraslip.layers.MaskedLipschitzDense(3)(x)
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    model.compile("sgd", epsilon=EPSILON)
    return model


NETS = {
    "clipped_relu": lambda: keraslip.layers.ClippedReLU(0.4),
    "relu": keras.layers.ReLU,
    "clipped_maxmin": lambda: keraslip.layers.ClippedMaxMin(0.3, -0.3),
}


@pytest.fixture(scope="module", params=NETS)
def saved(request, tmp_path_factory):
    """A model, its certificates, and the file for the checker."""
    keras.utils.set_random_seed(2)
    model = build(NETS[request.param])
    x = np.random.default_rng(0).uniform(size=(40, 5, 5, 1)).astype("float32")
    certificates = model.certify(x, batch_size=16, arithmetic="float64", verbose=False)
    path = tmp_path_factory.mktemp("check") / "certificates.npz"
    certificates.save(path, model=model, x=x)
    return model, x, certificates, path


def run(path):
    """Runs the checker as a file: NumPy is all that it imports."""
    command = [sys.executable, check.__file__, str(path), "--points", "50"]
    return subprocess.run(command, capture_output=True, text=True)


def changed(path, **arrays):
    """A copy of the file with other arrays."""
    with np.load(path) as stored:
        content = {name: stored[name] for name in stored.files}
    other = path.with_name("changed.npz")
    np.savez(other, **{**content, **arrays})
    return other


def test_certified_samples_are_confirmed(saved):
    _, _, certificates, path = saved
    count = int(certificates.certified.sum())
    assert count >= 5
    done = run(path)
    assert done.returncode == 0, done.stderr
    assert f"{count} confirmed, 0 not confirmed, 0 contradicted" in done.stdout


def test_a_wrong_label_is_contradicted(saved):
    _, _, certificates, path = saved
    done = run(changed(path, label=(certificates.label + 1) % 3))
    assert done.returncode == 1
    assert "CONTRADICTED" in done.stdout


def test_too_small_a_lipschitz_bound_is_contradicted(saved):
    _, _, certificates, path = saved
    done = run(changed(path, lipschitz=certificates.lipschitz * 1e-3))
    assert done.returncode == 1


def test_too_large_an_epsilon_is_not_confirmed(saved):
    _, _, certificates, path = saved
    done = run(changed(path, epsilon=certificates.epsilon * 100))
    assert " 0 confirmed" in f" {done.stdout.splitlines()[-1]}"


def test_certificates_load_with_the_evidence_beside_them(saved):
    _, _, certificates, path = saved
    loaded = keraslip.Certificates.load(path)
    np.testing.assert_array_equal(loaded.margin, certificates.margin)


def test_a_file_without_a_network_is_refused(saved, tmp_path):
    saved[2].save(tmp_path / "plain.npz")
    done = run(tmp_path / "plain.npz")
    assert done.returncode == 1
    assert "model=model" in done.stderr


def test_other_weights_are_refused(saved, tmp_path):
    _, x, certificates, _ = saved
    other = build(NETS["relu"])
    with pytest.raises(ValueError, match="not those that were certified"):
        certificates.save(tmp_path / "c.npz", model=other, x=x)
    assert list(tmp_path.iterdir()) == []


def test_large_networks_are_refused(saved, tmp_path, monkeypatch):
    model, x, certificates, _ = saved
    monkeypatch.setattr(evidence, "_LARGEST", 1000)
    with pytest.raises(ValueError, match="small networks"):
        certificates.save(tmp_path / "c.npz", model=model, x=x)


def test_the_checker_shares_no_code():
    source = Path(check.__file__).read_text()
    imports = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    assert imports == [
        "import argparse",
        "import sys",
        "from typing import Any",
        "import numpy as np",
    ]
