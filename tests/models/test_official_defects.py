"""Faults of the published code, and that this library does not have them.

Each test is named for the fault. Those about converged norms and wrong masks are in tests/bounds,
those about class pairs and checkpoints also where the code is.
"""

import csv

import keras
import numpy as np
import pytest

import keraslip
from keraslip.cli.run_folder import BEST, Checkpoint, RunFolder
from keraslip.linear import DenseMap
from keraslip.rules.propagation import Propagation
from keraslip.rules.walk import propagate
from tests.models.nets import (
    CLASSES,
    FEATURES,
    UNCOMPILED,
    compiled,
    dense_net,
    samples,
    weights_of,
)


def test_a_nan_bound_is_not_replaced_by_zero():
    x, y = samples(8)
    model = compiled(dense_net(), **UNCOMPILED)
    model.get_layer("first").bias.assign(np.full(8, np.nan))
    found = model.estimate(x, y, epsilon=0.0)
    assert np.isnan(found.margin).all() and np.isnan(found.lipschitz).all()
    assert found.certified_accuracy == 0.0
    logs = model.test_on_batch(x, y, return_dict=True)
    assert logs["certified_accuracy"] == 0.0 and np.isnan(logs["lipschitz"])


def test_a_power_iteration_is_called_an_estimate():
    x, y = samples(8)
    found = compiled(dense_net()).estimate(x, y)
    assert found.guarantee == "estimate (power iteration)"
    assert not any("proof" in name or "proved" in name for name in dir(found))


def test_more_iterations_only_raise_the_estimate_to_the_norm():
    x, y = samples(8)
    model = compiled(dense_net(units=32))
    norm = np.prod(
        [np.linalg.norm(model.get_layer(n).get_weights()[0], 2) for n in ("first", "logits")]
    )
    values = [
        float(model.estimate(x, y, bound="global", power_iterations=k).lipschitz[0])
        for k in (1, 3, 300)
    ]
    assert values[0] < values[1] < values[2] <= norm * (1 + 1e-5)
    assert values[2] == pytest.approx(norm, rel=1e-4)


def test_the_epsilon_ramp_does_not_overshoot_and_kappa_does_not_go_below_its_end():
    epsilon = keraslip.schedules.LinearRamp(0.0, 36 / 255, until=0.5)
    kappa = keraslip.schedules.LinearRamp(1.0, 0.0, until=0.5)
    for progress in np.linspace(0, 1.2, 400):
        e, k = (float(keras.ops.convert_to_numpy(s(progress))) for s in (epsilon, kappa))
        assert 0.0 <= e <= np.float32(36 / 255) and 0.0 <= k <= 1.0
        if progress >= 0.5:
            assert (e, k) == (np.float32(36 / 255), 0.0)


@pytest.mark.parametrize("kind", ["Normalization", "Rescaling"])
def test_input_normalisation_keeps_epsilon_in_raw_units(kind):
    mean, std = np.full(FEATURES, 0.4, "float32"), np.linspace(0.1, 0.5, FEATURES)
    first = {
        "Normalization": lambda: keras.layers.Normalization(mean=mean, variance=std**2),
        "Rescaling": lambda: keras.layers.Rescaling(4.0, offset=-0.4),
    }[kind]()
    inputs = keras.Input((FEATURES,))
    outputs = keraslip.layers.MaskedLipschitzDense(CLASSES, use_bias=False, name="w")(first(inputs))
    model = compiled(keraslip.LocalLipschitzModel(inputs, outputs))
    kernel = model.get_layer("w").get_weights()[0]
    scale = 1 / std if kind == "Normalization" else np.full(FEATURES, 4.0)
    x, y = samples(8)
    found = model.estimate(x, y, epsilon=0.3, power_iterations=300)
    raw = scale[:, None] * kernel
    np.testing.assert_allclose(found.lipschitz, np.linalg.norm(raw, 2), rtol=1e-4)
    # Linear net: the worst case is exact, epsilon times the length of the row's difference.
    for i in range(8):
        rise = 0.3 * np.linalg.norm(raw - raw[:, [y[i]]], axis=0)
        np.testing.assert_allclose(found.worst[i] - found.logits[i], rise, rtol=1e-4, atol=1e-6)


@pytest.mark.any_backend("tests/models/test_one_pass.py has the shapes of all weights on each")
def test_no_vector_for_each_sample_is_kept():
    x, y = samples(64)
    model = compiled(dense_net(), "adam")
    before = sum(w.size for w in weights_of(model))
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    assert sum(w.size for w in weights_of(model)) == before


def test_class_pairs_are_not_built(monkeypatch):
    """The last layer is bounded with one row less another for each sample: K of them, not K x K."""
    classes, units, batch = 50, 7, 4
    inputs = keras.Input((FEATURES,))
    x = keraslip.layers.ClippedReLU()(keraslip.layers.MaskedLipschitzDense(units)(inputs))
    outputs = keraslip.layers.MaskedLipschitzDense(classes)(x)
    model = compiled(keraslip.LocalLipschitzModel(inputs, outputs), **UNCOMPILED)
    largest = []
    for name in (
        "sum",
        "maximum",
        "minimum",
        "expand_dims",
        "matmul",
        "reshape",
        "where",
        "square",
    ):
        original = getattr(keras.ops, name)

        def watched(*args, _original=original, **kwargs):
            out = _original(*args, **kwargs)
            largest.append(int(np.prod(tuple(out.shape))))
            return out

        monkeypatch.setattr(keras.ops, name, watched)
    x, y = samples(batch)
    model.test_on_batch(x, y)
    assert batch * classes * units in largest  # the rows themselves were seen
    assert max(largest) < batch * classes * classes


def test_the_best_checkpoint_is_the_best_on_validation_data(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    keeper = Checkpoint(folder)
    model = compiled(dense_net())
    keeper.set_model(model)
    history = [(0.9, 0.2), (0.1, 0.6), (0.95, 0.5)]  # training, validation
    for epoch, (train, val) in enumerate(history):
        model.get_layer("logits").bias.assign(np.full(CLASSES, float(epoch)))
        logs = {"certified_accuracy": train, "val_certified_accuracy": val}
        keeper.on_epoch_end(epoch, logs)
    best = keras.models.load_model(folder.path / BEST)
    assert best.get_layer("logits").bias.numpy()[0] == 1.0
    assert folder.read_json("state.json") == {"epochs_done": 3, "best": 0.6, "best_epoch": 2}
    with (folder.path / "log.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == 3


def test_validation_images_are_never_test_images():
    data = keraslip.datasets.load("digits")
    test = {image.tobytes() for image in data.x_test}
    shared = sum(image.tobytes() in test for image in data.x_val)
    assert shared == 0


def test_the_papers_epsilon_is_36_255_and_not_0_141(tmp_path):
    from keraslip.cli.recipes import RECIPES

    model = compiled(dense_net(), epsilon=36 / 255)
    assert model.epsilon_value == 36 / 255
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").epsilon_value == 36 / 255
    assert {RECIPES[n].epsilon for n in ("cifar_4c3f", "cifar_6c2f", "tiny_imagenet_8c2f")} == {
        36 / 255
    }


def test_box_radii_of_a_converged_pass_hold_for_sampled_points():
    """Masks come from boxes: no point of the ball may leave its box or move a masked unit."""
    x, _ = samples(4)
    model = compiled(dense_net(units=40), epsilon=0.2)
    vectors = model.warm_starts
    context = Propagation(
        keras.ops.convert_to_tensor(np.float32(0.2)), vectors, power_iterations=200
    )
    form = propagate(model, keras.ops.convert_to_tensor(x), context)
    assert isinstance(form.terms[0][1], DenseMap)
    ball = form.terms[0][0]
    mask = keras.ops.convert_to_numpy(ball.varying)
    hidden = keras.Model(model.inputs[0], model.get_layer("clip").output)
    center = hidden.predict(x, verbose=0)
    assert 0.0 < mask.mean() < 1.0
    rng = np.random.default_rng(0)
    for _ in range(200):
        d = rng.normal(size=x.shape)
        d *= 0.2 / np.linalg.norm(d, axis=1, keepdims=True)
        moved = hidden.predict_on_batch((x + d).astype("float32"))
        assert np.abs((moved - center)[mask == 0]).max() == 0.0
