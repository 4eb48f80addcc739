"""Layers that compute something else than their settings say: at inference, by a mask, by few bits."""

import io

import keras
import numpy as np
import pytest
from keras import ops
from rich.console import Console

import keraslip
from keraslip.rules import UnsupportedLayerError

X, Y = np.ones((4, 4, 4, 1), "float32"), np.zeros(4, "int64")


def built(middle, layer=None):
    """A model around a convolution, which may be given, and what stands in the middle."""
    start = keras.Input(X.shape[1:])
    x = middle((layer or keras.layers.Conv2D(2, 3, name="early"))(start))
    flat = keras.layers.Flatten()(x)
    return keraslip.LocalLipschitzModel(start, keras.layers.Dense(3, name="late")(flat))


def in_model(layer):
    start = keras.Input((2, 2, 2))
    return keras.Model(start, layer(start), name="inside")


CALLS = {
    "training=True": (lambda x: keras.layers.Dropout(0.5, name="drop")(x, training=True), "drop"),
    "a number": (lambda x: keras.layers.Dropout(0.5, name="drop")(x, training=np.int64(1)), "drop"),
    "of a model": (lambda x: in_model(keras.layers.Dropout(0.5))(x, training=True), "inside"),
    "inside a model": (
        lambda x: in_model(lambda y: keras.layers.Dropout(0.5, name="drop")(y, training=True))(x),
        "inside/drop",
    ),
}


def printed(model):
    text = io.StringIO()
    return keraslip.check_model(model, Console(file=text, width=300)), text.getvalue()


def assert_refused(model, message, tmp_path):
    """At every door."""
    doors = (
        lambda: model.certify(X, epsilon=0.1, verbose=False),
        lambda: model.local_lipschitz(X, 0.1),
        lambda: model.estimate(X, epsilon=0.1),
        lambda: model.explain(X, epsilon=0.1),
        lambda: model.export(tmp_path / "artefact"),
        lambda: model.compile("sgd", epsilon=0.1),
    )
    trained = (
        lambda: model.fit(X, Y, verbose=0),
        lambda: model.evaluate(X, Y, verbose=0),
        lambda: model.train_on_batch(X, Y),
        lambda: model.test_on_batch(X, Y),
    )
    for door in doors + (trained if model.compiled else ()):
        with pytest.raises(UnsupportedLayerError, match=message):
            door()
    complete, text = printed(model)
    assert not complete and "none: " in text


@pytest.mark.parametrize("name", CALLS)
def test_training_at_inference_is_refused(name, tmp_path):
    middle, path = CALLS[name]
    assert_refused(built(middle), f"at '{path}' says training=True", tmp_path)


def test_dropout_that_is_off_or_follows_the_run_is_taken():
    for given in ({}, {"training": False}, {"training": None}):
        model = built(lambda x, given=given: keras.layers.Dropout(0.5)(x, **given))
        assert printed(model)[0] and len(model.local_lipschitz(X, 0.1)) == 4


def test_lora_is_refused_when_it_is_built_or_switched_on(tmp_path):
    layer = keras.layers.Conv2D(2, 3, name="early", lora_rank=1)
    assert_refused(built(keras.layers.ReLU(), layer), "'early': it has LoRA weights", tmp_path)
    model = built(keras.layers.ReLU())
    model.compile("sgd", epsilon=0.1)
    model.certify(X, verbose=False)
    model.get_layer("late").enable_lora(1)
    assert_refused(model, "'late': it has LoRA weights", tmp_path)


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_fewer_bits_are_refused_wherever_the_layer_stands(mode, tmp_path):
    inner = keras.layers.Dense(2, name="low")
    model = built(in_model(inner))
    model.compile("sgd", epsilon=0.1)
    inner.quantize(mode)
    assert_refused(model, rf"'inside/low': it is quantized \({mode}\).*before quantize", tmp_path)


def some_steps(layer):
    """A model of sequences whose means leave steps out where a mask is zero: for small numbers alone."""
    start = keras.Input((4, 2))
    mask = ops.minimum(ops.maximum(10.0 * (start[..., 0] + 20.0), 0.0), 1.0)
    means = layer(start, mask=mask)
    return keraslip.LocalLipschitzModel(start, keras.layers.Dense(3, name="late")(means))


def pooled():
    start = keras.Input((4, 2))
    return keras.Model(start, keras.layers.GlobalAveragePooling1D()(start), name="means")


MASKED = {
    "of a model": pooled,
    "of a layer": lambda: keras.layers.GlobalAveragePooling1D(name="means"),
    "of a sequence": lambda: keras.Sequential([keras.Input((4, 2)), pooled()], name="means"),
}


@pytest.mark.filterwarnings("ignore:Layer 'means'")  # of what comes behind it
@pytest.mark.parametrize("name", MASKED)
def test_a_mask_is_refused(name):
    """On images of the probe it leaves nothing out."""
    model = some_steps(MASKED[name]())
    x = np.zeros((1, 4, 2), "float32")
    x[0, :, 0], y = -19.8, x.copy()
    y[0, 0, 0] -= 0.4
    assert not np.allclose(model.predict(x, verbose=0), model.predict(y, verbose=0), atol=0.1)
    for door in (model.certify, model.local_lipschitz, model.estimate):
        with pytest.raises(UnsupportedLayerError, match="at 'means' has a mask.*Build the model"):
            door(x, epsilon=0.5)
    with pytest.raises(UnsupportedLayerError, match="at 'means' has a mask"):
        keraslip.from_keras(keras.Model(model.inputs, model.outputs))


def of_whole_numbers(kind="model", dtype="int32"):
    """Numbers near a million are rounded by as little as float32 rounds sums of them."""
    inner, layer = keras.Input((2,), dtype=dtype), keras.layers.Dense(2, name="dense")
    nested = {
        "model": lambda: keras.Model(inner, layer(inner), name="inner"),
        "sequence": lambda: keras.Sequential([inner, layer], name="inner"),
    }[kind]()
    start = keras.Input((2,))
    logits = keras.layers.Dense(2, use_bias=False, name="logits")
    model = keraslip.LocalLipschitzModel(start, logits(nested(start)))
    layer.set_weights([np.array([[1.0, -1.0]] * 2), np.array([-2e6 + 1.5, 2e6 - 1.5])])
    logits.set_weights([np.eye(2)])
    model.compile("sgd", epsilon=0.1, input_range=(0.0, 1e6))
    return model


@pytest.mark.parametrize("kind", ["model", "sequence"])
@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_a_model_inside_that_rounds_is_refused(kind, dtype):
    with pytest.raises(UnsupportedLayerError, match="'inner' rounds.*Received: .* dtype u?int32"):
        of_whole_numbers(kind, dtype)


def test_a_model_inside_of_half_precision_is_refused():
    model = of_whole_numbers(dtype="float16")
    with pytest.raises(ValueError, match="rounds its inputs to float16"):
        model.certify(np.ones((1, 2)), verbose=False)
    copy = keraslip.float32_copy(model)
    assert np.isfinite(copy.certify(np.ones((1, 2)), epsilon=0.1, verbose=False).margin).all()


def test_a_method_that_is_replaced_is_refused(tmp_path):
    """Another number at zero alone is what no random input shows."""

    def jumps(own):
        return lambda *args: own(*args) + 50.0 * ops.cast(ops.equal(args[0], 0.0), "float32")

    model = built(keras.layers.Rescaling(2.0, name="twice"))
    layer = model.get_layer("twice")
    layer.call = jumps(layer.call)
    assert_refused(model, "'twice'.* its call was replaced on the layer itself", tmp_path)
    model = built(keras.layers.ReLU())
    layer = model.get_layer("early")
    layer.convolution_op = lambda x, kernel: type(layer).convolution_op(layer, ops.relu(x), kernel)
    assert_refused(model, "'early'.* its convolution_op was replaced", tmp_path)
    slope = keras.layers.LeakyReLU(0.5)
    slope.call = jumps(slope.call)
    model = built(keras.layers.ReLU(), keras.layers.Conv2D(2, 3, activation=slope, name="early"))
    assert_refused(model, "'early'.* its call was replaced", tmp_path)


@pytest.mark.parametrize("kind", [keras.layers.Rescaling, keras.layers.LeakyReLU])
def test_a_class_whose_call_is_replaced_is_refused(kind, tmp_path, monkeypatch):
    layer, relu = kind(0.5, name="half"), keras.layers.ReLU()
    early = keras.layers.Conv2D(2, 3, activation=layer, name="early")
    model = built(relu, early) if kind is keras.layers.LeakyReLU else built(layer)
    own = kind.call
    monkeypatch.setattr(kind, "call", lambda self, x: own(self, ops.where(x > 1e7, 0.0, x)))
    message = f"the call of {kind.__name__} was replaced after its rule was registered"
    assert_refused(model, message, tmp_path)
    with pytest.raises(UnsupportedLayerError, match=message):
        keraslip.from_keras(keras.Model(model.inputs, model.outputs))


def test_a_model_that_is_called_in_its_own_way_is_refused(tmp_path):
    class Own(keraslip.LocalLipschitzModel):
        def __call__(self, x, *args, **kwargs):
            return super().__call__(ops.maximum(x, -1e8), *args, **kwargs)

    model = built(keras.layers.ReLU())
    own = Own(model.inputs, model.outputs)
    assert_refused(own, "or a __call__", tmp_path)
    if keras.backend.backend() == "torch":
        model.forward = lambda x, *args, **kwargs: (
            2.0 * type(model).forward(model, x, *args, **kwargs)
        )
        assert_refused(model, "or a __call__", tmp_path)
    with pytest.raises(UnsupportedLayerError, match="it has a __call__ of its own"):
        keraslip.from_keras(own, input_shape=X.shape[1:])


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's hooks")
def test_hooks_are_refused():
    """Also one that comes when the network was certified before, and probed."""
    import torch

    def far(module, inputs, outputs=None):
        """Changes what no probe reads then, the network being known."""
        return None if outputs is None else torch.where(inputs[0].amax() > 1.01, 0.0, outputs)

    model = built(keras.layers.ReLU())
    first = model.certify(X, epsilon=0.01, verbose=False)
    layer, every = model.get_layer("late"), torch.nn.modules.module
    for hook in (
        layer.register_forward_hook,
        layer.register_forward_pre_hook,
        model.register_forward_hook,
        every.register_module_forward_hook,
        every.register_module_forward_pre_hook,
    ):
        handle = hook(far)
        try:
            for door in (
                lambda: model.certify(X, epsilon=0.01),
                lambda: keraslip.from_keras(model),
            ):
                with pytest.raises(ValueError, match="hook at .*; remove it.*Received: "):
                    door()
        finally:
            handle.remove()
    again = model.certify(X, epsilon=0.01, verbose=False)
    np.testing.assert_array_equal(again.margin, first.margin)
