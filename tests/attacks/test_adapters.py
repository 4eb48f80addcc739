"""keraslip models in the hands of other libraries' attacks."""

import sys
import warnings
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keraslip
from keraslip.attacks import as_foolbox, as_torch
from keraslip.backend import input_gradient

BACKEND = keras.backend.backend()


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 3, 2))
    x = keraslip.layers.MaskedLipschitzConv2D(4, 2)(inputs)
    x = keraslip.layers.ClippedReLU(threshold=1.0)(x)
    outputs = keraslip.layers.MaskedLipschitzDense(3)(keras.layers.Flatten()(x))
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    model.compile(epsilon=0.1, input_range=(-0.5, 1.5))
    return model


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(20, 4, 3, 2)).astype("float32")


def foolbox():
    """Foolbox, or a reason to skip; it warns of itself when it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("foolbox", reason='needs pip install "keraslip[attacks]"')


@pytest.mark.parametrize(
    "attack", ["L2ProjectedGradientDescentAttack", "L2CarliniWagnerAttack", "DDNAttack"]
)
@pytest.mark.filterwarnings("ignore")
def test_attacks_of_foolbox_run_and_beat_no_certificate(model, x, attack):
    library = foolbox()
    label = model.predict(x, verbose=0).argmax(axis=1)
    found = model.certify(x, epsilon=0.2, verbose=0)
    assert 0 < found.certified.sum() < len(x)
    search = getattr(library.attacks, attack)(steps=30)
    tensors = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(label, "int64")
    _, points, fooled = search(as_foolbox(model), *tensors, epsilons=0.2)
    points, fooled = (keras.ops.convert_to_numpy(part) for part in (points, fooled))
    assert np.linalg.norm((points - x).reshape(len(x), -1), axis=1).max() <= 0.2 * (1 + 1e-5)
    assert fooled.any() and not (fooled & found.certified).any()


def test_foolbox_gets_logits_and_the_models_range(model, x, monkeypatch):
    class Recorded:
        def __init__(self, model, bounds, device=None):
            self.model, self.bounds, self.device = model, bounds, device

    names = ("PyTorchModel", "TensorFlowModel", "JAXModel")
    stand_in = SimpleNamespace(**{name: type(name, (Recorded,), {}) for name in names})
    monkeypatch.setitem(sys.modules, "foolbox", stand_in)
    made = as_foolbox(model)
    assert type(made).__name__.lower().startswith({"torch": "py"}.get(BACKEND, BACKEND))
    assert made.bounds == (-0.5, 1.5)
    assert as_foolbox(model, (0, 1)).bounds == (0.0, 1.0)
    logits = keras.ops.convert_to_numpy(made.model(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(logits, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_foolbox_needs_a_bounded_range(model):
    with pytest.raises(ValueError, match="bounded input range.*None"):
        as_foolbox(model, None)


def test_without_foolbox_its_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(ImportError, match=r'pip install "keraslip\[attacks\]"'):
        as_foolbox(model)


@pytest.mark.skipif(BACKEND == "torch", reason="is what the torch backend is for")
def test_torch_attacks_need_the_torch_backend(model):
    with pytest.raises(ValueError, match="KERAS_BACKEND=torch"):
        as_torch(model)


@pytest.mark.skipif(BACKEND != "torch", reason="needs Keras' torch backend")
def test_a_torch_module_takes_channels_first_and_leaves_the_weights_alone(model, x):
    import torch

    module = as_torch(model)
    assert not module.training and not list(module.parameters())
    images = torch.tensor(x).permute(0, 3, 1, 2).requires_grad_()
    logits = module(images)
    np.testing.assert_allclose(logits.detach(), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    logits[:, 1].sum().backward()
    _, expected = input_gradient(model, lambda logits: logits[:, 1])(x)
    np.testing.assert_allclose(images.grad.permute(0, 2, 3, 1), expected, rtol=1e-5, atol=1e-6)
    assert all(weight.value.grad is None for weight in model.weights)
    with torch.no_grad():
        assert not module(images).requires_grad
