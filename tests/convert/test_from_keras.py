"""Models of Keras become models with certificates: the same weights, the same answers."""

import io

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import keraslip
from keraslip.convert import check_plain

IMAGE = (8, 8, 3)
RNG = np.random.default_rng(0)
X = RNG.uniform(size=(16, *IMAGE)).astype("float32")


def filled(model):
    """Random weights and moving statistics, as after a training."""
    generator = np.random.default_rng(1)
    for variable in model.weights:
        value = generator.normal(size=variable.shape) * 0.3
        if "variance" in variable.path or "gamma" in variable.path:
            value = np.abs(value) + 0.2
        variable.assign(value.astype("float32"))
    return model


def plain():
    return keras.Sequential(
        [
            keras.Input(IMAGE),
            layers.Rescaling(2.0, -1.0),
            layers.RandomFlip(),
            layers.Conv2D(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(4, 3, strides=2, activation="relu"),
            layers.GaussianNoise(0.1),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(6, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def residual():
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    x = layers.Activation("relu")(layers.BatchNormalization(name="norm", scale=False)(x))
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    y = layers.BatchNormalization()(shared(x))
    y = layers.BatchNormalization(center=False)(shared(keras.ops.relu(y)))
    x = layers.BatchNormalization()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(3)(x)))


def nested():
    inner = keras.Sequential([keras.Input((10,)), layers.Dense(5), layers.BatchNormalization()])
    outer = keras.Sequential([keras.Input((4,)), layers.Dense(10, activation="relu"), inner])
    inputs = keras.Input((4,))
    x = layers.ReLU()(outer(inputs))
    return keras.Model(inputs, layers.Dense(3)(x))


def adapted():
    scale = layers.Normalization()
    scale.adapt(RNG.normal(size=(50, 4)).astype("float32") * 3 + 1)
    return keras.Sequential([keras.Input((4,)), scale, layers.Dense(5), layers.Dense(3)])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.norm = layers.Dense(6), layers.BatchNormalization()
        self.last = layers.Dense(2, activation="softmax")

    def call(self, inputs, training=False):
        x = keras.ops.relu(self.norm(self.first(inputs), training=training))
        return self.last(x)


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 4), "float32"))
    return model


def answers(converted, x, softmax):
    logits = converted.predict(x, verbose=0)
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits)) if softmax else logits


@pytest.mark.parametrize(
    ("build", "softmax"),
    [(plain, True), (residual, True), (nested, False), (adapted, False), (subclassed, True)],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_answers_stay(build, softmax):
    model = filled(build()) if build is not adapted else build()
    shape = model.input_shape[1:] if build is not subclassed else (4,)
    x = np.random.default_rng(2).uniform(size=(16, *shape)).astype("float32")
    before, weights = model.predict(x, verbose=0), [w.copy() for w in model.get_weights()]
    converted = keraslip.from_keras(model)
    assert isinstance(converted, keraslip.LocalLipschitzModel)
    np.testing.assert_allclose(answers(converted, x, softmax), before, atol=2e-6, rtol=1e-5)
    for mine, kept in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, kept)
    types = [type(layer) for layer in converted.layers]
    assert layers.BatchNormalization not in types
    assert layers.Dense not in types and layers.Conv2D not in types


def test_normalisation_goes_into_the_layer_before_it_where_it_is_its_own():
    names = [layer.name for layer in keraslip.from_keras(filled(residual())).layers]
    # The shared convolution feeds two of them, the sum has no kernel: these stay as scales.
    assert "norm" not in names
    assert sum("batch_normalization" in name for name in names) == 3


def test_one_sigmoid_becomes_two_logits():
    for last in (
        [layers.Dense(1, activation="sigmoid")],
        [layers.Dense(1, use_bias=False), layers.Activation("sigmoid")],
    ):
        model = filled(keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.ReLU(), *last]))
        x = RNG.normal(size=(9, 4)).astype("float32")
        converted = keraslip.from_keras(model)
        assert converted.output_shape == (None, 2)
        after = answers(converted, x, softmax=True)[:, 1:]
        np.testing.assert_allclose(after, model.predict(x, verbose=0), atol=2e-6)


@pytest.mark.parametrize(
    "last",
    [
        lambda x: layers.Activation("sigmoid")(layers.BatchNormalization()(layers.Dense(1)(x))),
        lambda x: keras.ops.sigmoid(0.3 - 2.0 * layers.Dense(1)(x)),
        lambda x: layers.Dense(1, activation="sigmoid")(layers.Dense(1, activation="sigmoid")(x)),
        lambda x: {"label": layers.Dense(1, activation="sigmoid")(x)},
    ],
)
def test_whatever_one_sigmoid_reads_becomes_two_logits(last):
    inputs = keras.Input((4,))
    model = filled(keras.Model(inputs, last(inputs)))
    x = RNG.normal(size=(9, 4)).astype("float32")
    (before,) = keras.tree.flatten(model.predict(x, verbose=0))
    after = answers(keraslip.from_keras(model), x, softmax=True)[:, 1:]
    np.testing.assert_allclose(after, before, atol=2e-6)


@pytest.mark.parametrize("first", ["rescaled", "cast"])
def test_whole_numbers_and_half_precision_become_float32(first):
    inputs = keras.Input((4, 4, 1), dtype="uint8")
    half = {"dtype": "mixed_bfloat16"}
    x = keras.ops.cast(inputs, "float32") / 255.0
    x = layers.Rescaling(1 / 255.0, **half)(inputs) if first == "rescaled" else x
    x = layers.BatchNormalization(**half)(layers.Conv2D(3, 3, **half)(x))
    outputs = layers.Dense(3, activation="softmax", dtype="float32")(layers.Flatten(**half)(x))
    model = filled(keras.Model(inputs, outputs))
    assert told(model)[0]
    found = keraslip.from_keras(model).certify(
        RNG.integers(0, 255, (3, 4, 4, 1)).astype("uint8"), epsilon=0.1, radius=True, verbose=False
    )
    assert (found.radius > 0.0).all()


def test_the_radius_of_a_binary_model_is_its_own_margin_over_its_slope():
    """Of sigmoid(w . x + b) the label changes at a distance of |w . x + b| / ||w||."""
    model = filled(keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")]))
    x = RNG.normal(size=(20, 4)).astype("float32")
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    z = (x @ kernel + bias)[:, 0]
    found = keraslip.from_keras(model).certify(x, epsilon=0.1, radius=True, verbose=False)
    exact = np.abs(z) / np.linalg.norm(kernel)
    np.testing.assert_array_equal(found.label, z > 0)
    assert (found.radius <= exact).all() and (found.radius >= 0.98 * exact).all()


def test_an_input_in_a_dictionary_is_one_input():
    inputs = keras.Input((4,), name="x")
    model = filled(keras.Model({"x": inputs}, layers.Dense(3, activation="softmax")(inputs)))
    converted, x = keraslip.from_keras(model), RNG.normal(size=(9, 4)).astype("float32")
    after = answers(converted, x, softmax=True)
    np.testing.assert_allclose(after, model.predict({"x": x}, verbose=0), atol=2e-6)


def test_a_log_softmax_is_left_off():
    hidden = [keras.Input((4,)), layers.Dense(5, activation="gelu")]
    model = filled(keras.Sequential([*hidden, layers.Dense(3, activation="log_softmax")]))
    converted, x = keraslip.from_keras(model), RNG.normal(size=(9, 4)).astype("float32")
    found = np.log(answers(converted, x, softmax=True))
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=2e-5)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (layers.Dense(3, activation="sigmoid"), "several answers"),
        (layers.Dense(1), "regression has not"),
        (layers.Dense(1, activation="tanh"), "regression has not"),
    ],
)
def test_what_has_no_label(last, message):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="tanh"), last])
    with pytest.raises((ValueError, NotImplementedError), match=message):
        keraslip.from_keras(model)


def test_a_converted_model_certifies_trains_and_is_saved(tmp_path):
    converted = keraslip.from_keras(filled(plain()))
    converted.compile("adam", epsilon=0.01)
    y = converted.predict(X, verbose=0).argmax(axis=1)
    assert converted.certify(X, y, verbose=False, epsilon=1e-4).certified.all()
    converted.fit(X, y, batch_size=8, verbose=0)
    converted.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), converted.predict(X, verbose=0))


def test_calibration_clips_at_a_quantile_of_every_channel():
    model = filled(plain())
    converted = keraslip.from_keras(model, calibrate=X, quantile=1.0)
    clips = [layer for layer in converted.layers if isinstance(layer, keraslip.layers.ClippedReLU)]
    assert len(clips) == 3
    # The largest value of each channel is let through: nothing is cut on these samples.
    after = answers(converted, X, softmax=True)
    np.testing.assert_allclose(after, model.predict(X, verbose=0), atol=2e-6, rtol=1e-5)
    theta = keras.ops.convert_to_numpy(clips[0].theta)
    assert (theta == theta[:, :1, :1]).all() and len(np.unique(theta)) == 4
    tighter = keraslip.from_keras(model, calibrate=X, quantile=0.5)
    halves = [w for w in tighter.layers if isinstance(w, keraslip.layers.ClippedReLU)]
    assert (keras.ops.convert_to_numpy(halves[0].theta) < theta).all()


def several_sigmoids():
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="sigmoid")])


def two_outputs():
    inputs = keras.Input((4,))
    return keras.Model(inputs, [layers.Dense(2)(inputs), layers.Dense(3)(inputs)])


def attention():
    inputs = keras.Input((4, 6))
    x = layers.MultiHeadAttention(2, 3)(inputs, inputs)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


class Untraceable(keras.Model):
    def call(self, inputs):
        return inputs if float(keras.ops.sum(inputs)) > 0 else -inputs


@pytest.mark.parametrize(
    ("build", "options", "error", "match"),
    [
        (several_sigmoids, {}, NotImplementedError, "one label.*Received: output shape"),
        (two_outputs, {}, NotImplementedError, "one input and one output.*2 outputs"),
        (attention, {}, NotImplementedError, "MultiHeadAttention"),
        (Untraceable, {"input_shape": (4,)}, NotImplementedError, "cannot be traced"),
        (Subclassed, {}, ValueError, "input_shape="),
        (nested, {"clip": "maxmin"}, ValueError, "clip"),
        (nested, {"quantile": 0.0}, ValueError, "quantile"),
        (nested, {"quantile": "many"}, ValueError, "quantile.*Received"),
        (nested, {"rescale": "1"}, ValueError, "rescale.*Received"),
        (nested, {"feature_scales": "a"}, ValueError, "feature_scales.*Received"),
        (nested, {"calibrate": np.zeros((3, 5))}, ValueError, r"calibrate.*\(3, 5\)"),
        (nested, {"calibrate": np.full((3, 4), np.nan)}, ValueError, "calibrate.*NaN"),
        (nested, {"calibrate": []}, ValueError, "calibrate.*Received"),
        (nested, {"calibrate": "x"}, ValueError, "calibrate.*Received"),
        (lambda: "mine.keras", {}, ValueError, "load_model.*mine.keras"),
        (lambda: layers.Dense(3), {}, ValueError, "keras.Model"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_a_sentence(build, options, error, match):
    with pytest.raises(error, match=match):
        keraslip.from_keras(build(), **options)


def test_a_layer_that_does_not_do_what_its_configuration_says_is_found():
    class Twice(layers.Dense):
        def __init__(self, units, factor=2.0, **kwargs):
            super().__init__(units, **kwargs)
            self.factor = factor  # and get_config forgets it

        def call(self, inputs):
            return self.factor * super().call(inputs)

    @keraslip.register_rule(Twice)
    class TwiceRule(keraslip.rules.LinearRule):
        def linear_map(self, layer, in_shape):
            return keraslip.linear.DenseMap(layer.factor * layer.kernel, in_shape)

        def bias(self, layer):
            return layer.factor * layer.bias

    model = filled(keras.Sequential([keras.Input((4,)), Twice(3, factor=3.0)]))
    with pytest.raises(ValueError, match="does not answer as the model"):
        keraslip.from_keras(model)


def told(model):
    text = io.StringIO()
    taken = check_plain(model, Console(file=text, width=250))
    cells = [line.split("│")[1:-1] for line in text.getvalue().splitlines() if "│" in line]
    return taken, [[cell.strip() for cell in row] for row in cells if row[1].strip()]


def test_the_page_says_what_becomes_of_every_layer_and_groups_equal_ones():
    taken, rows = told(small_resnet_of_points())
    assert taken
    said = {kind: rule for _, kind, _, rule in rows}
    assert said["3 x BatchNormalization"] == "folds into the layer before it"
    assert said["3 x Conv2D"] == "MaskedLipschitzConv2D, same weights"
    assert said["GaussianNoise"] == "NoiseRule" and said["RandomFlip"] == "AugmentationRule"
    assert said["AlphaDropout"] == said["RandomZoom"] == "left out: it does nothing at inference"
    assert said["Dense"] == "certified on what the softmax reads"


def test_fit_goes_on_with_noise_and_augmentation():
    converted = keraslip.from_keras(small_resnet_of_points())
    kept = [type(layer).__name__ for layer in converted.layers]
    assert {"RandomFlip", "GaussianNoise", "SpatialDropout2D"} <= set(kept)
    assert not {"RandomZoom", "AlphaDropout"} & set(kept)
    assert keraslip.check_model(converted)


def small_resnet_of_points():
    """Its name has a point, as those of `keras.applications` have."""
    inputs = keras.Input((4, 4, 2))
    x = keras.layers.RandomFlip()(keras.layers.Rescaling(2.0)(inputs))
    x = keras.layers.GaussianNoise(0.1)(x)
    for number in range(3):
        x = keras.layers.Conv2D(2, 3, padding="same", name=f"conv_{number}")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.AlphaDropout(0.1)(keras.layers.RandomZoom(0.1)(x))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.SpatialDropout2D(0.1)(x))
    outputs = keras.layers.Dense(3, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="small_1.00")


def test_a_name_with_a_point_is_no_matter():
    assert keraslip.from_keras(small_resnet_of_points()).name == "small_1_00"


@pytest.mark.parametrize(
    "activation",
    [
        lambda: layers.LeakyReLU(0.3),
        lambda: layers.PReLU(keras.initializers.RandomUniform(-1.0, 1.0)),
        lambda: keraslip.layers.ClippedMaxMin(0.5),
        lambda: keras.ops.abs,
    ],
)
def test_activations_that_are_arguments(activation):
    inputs = keras.Input((4, 4, 2))
    x = layers.Flatten()(layers.Conv2D(4, 3, activation=activation())(inputs))
    model = keras.Model(inputs, layers.Dense(3)(layers.Dense(4, activation=activation())(x)))
    taken, rows = told(model)
    assert taken and any("behind" in rule for *_, rule in rows)
    x = X[:, :4, :4, :2]
    found = keraslip.from_keras(model)
    assert [w.shape for w in found.trainable_weights] == [w.shape for w in model.trainable_weights]
    np.testing.assert_allclose(
        found.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5, rtol=1e-5
    )


def test_the_page_tells_every_problem_at_once():
    inputs = keras.Input((4, 6))
    x = keras.layers.LayerNormalization(name="first")(inputs)
    x = keras.layers.MultiHeadAttention(1, 2, name="second")(x, x)
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(x))
    taken, rows = told(keras.Model(inputs, outputs))
    assert not taken
    assert [layer for layer, _, _, rule in rows if "none: " in rule] == ["first", "second"]


def test_the_page_tells_every_problem_of_bare_operations_too():
    inner_inputs = keras.Input((4,))
    inner = keras.Model(inner_inputs, inner_inputs * inner_inputs, name="inner")
    inputs = keras.Input((4,))
    x = keras.ops.flip(inner(keras.layers.Dense(4)(inputs)), 0)
    model = keras.Model(inputs, keras.layers.Dense(3)(x * inputs))
    taken, rows = told(model)
    refused = [rule for *_, rule in rows if "none: " in rule]
    assert not taken and len(refused) == 3
    assert ["product" in rule for rule in refused] == [True, False, True]
    assert not any("automatically infer" in rule for rule in refused)


def test_the_page_tells_what_shows_only_as_a_whole():
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3, activation="relu")(inputs)
    taken, rows = told(keras.Model(inputs, outputs))
    assert not taken and "linear layer" in rows[-1][3]


def test_rescaled_layers_have_small_norms_and_a_chain_keeps_its_decisions():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Flatten()(layers.ReLU()(x))
    model = filled(keras.Model(inputs, layers.Dense(5, name="end", use_bias=False)(x)))
    for layer in (model.layers[1], model.get_layer("depthwise")):
        # Biases shrink too, but by the layer's own factor alone.
        layer.bias.assign(0.0 * layer.bias)
    model.get_layer("end").kernel.assign(40.0 * model.get_layer("end").kernel)
    x = RNG.uniform(size=(32, 6, 6, 2)).astype("float32")
    before = model.predict(x, verbose=0)
    small = keraslip.from_keras(model, rescale=1.0)
    after = small.predict(x, verbose=0)
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    factor = np.linalg.norm(before) / np.linalg.norm(after)
    np.testing.assert_allclose(before, factor * after, atol=1e-4 * np.abs(before).max())
    kernel = np.asarray(small.get_layer("end").get_weights()[0])
    assert np.linalg.norm(kernel, 2) == pytest.approx(1.0, rel=1e-3)
    with pytest.raises(
        ValueError, match="rescale must be a finite number > 0. Received: rescale=0"
    ):
        keraslip.from_keras(model, rescale=0)


def test_epsilon_in_units_of_each_feature():
    """Of sigmoid(w . x + b) the label changes at |w . x + b| / ||s w|| in units of s."""
    scales = np.array([1000.0, 0.01, 1.0, 3.0])
    model = filled(keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")]))
    x = RNG.normal(size=(20, 4)) * scales
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    z = (x @ kernel + bias)[:, 0]
    units = keraslip.from_keras(model, feature_scales=scales)
    assert keras.Model.from_config(units.get_config()) is not None
    found = units.certify(x / scales, epsilon=0.1, radius=True, verbose=False)
    exact = np.abs(z) / np.linalg.norm(kernel[:, 0] * scales)
    np.testing.assert_array_equal(found.label, z > 0)
    assert (found.radius <= exact).all() and (found.radius >= 0.98 * exact).all()
    certified = np.flatnonzero(found.radius > 0)
    raw = keraslip.from_keras(model)
    for index in certified:
        # The nearest point of another label, in raw units, is one of that label for the model that was given.
        step = scales**2 * kernel[:, 0]
        beyond = x[index] - 1.01 * z[index] * step / (kernel[:, 0] @ step)
        assert raw.predict(beyond[None].astype("float32"), verbose=0).argmax() != found.label[index]
        assert np.linalg.norm((beyond - x[index]) / scales) >= found.radius[index]


@pytest.mark.parametrize(
    "scales", [[1.0, 2.0], [1.0, 0.0, 1.0, 1.0], [1.0, np.nan, 1.0, 1.0], -1.0]
)
def test_scales_that_are_none_are_refused(scales):
    with pytest.raises(ValueError, match="feature_scales must be finite numbers > 0.*Received"):
        keraslip.from_keras(nested(), feature_scales=scales)


def test_layers_of_zeros_are_rescaled_to_themselves():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "relu"), layers.Dense(2)])
    model.layers[0].kernel.assign(0.0 * model.layers[0].kernel)
    small = keraslip.from_keras(model, rescale=0.5)
    assert all(np.isfinite(weight).all() for weight in small.get_weights())
