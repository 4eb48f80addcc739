"""A layer without a rule: the constructor and `check_model` take it, training does not."""

import io

import keras
import pytest
from rich.console import Console

import keraslip
from keraslip.rules import UnsupportedLayerError
from tests.models.nets import CLASSES, FEATURES, conv_net, samples


class Squared(keras.layers.Layer):
    """Not 1-Lipschitz, and without a rule."""

    def call(self, x):
        return x * x


class Doubled(keraslip.layers.MaskedLipschitzDense):
    """A subclass with another `call`: its parent's rule would be wrong."""

    def call(self, x, training=None):
        return 2.0 * super().call(x, training=training)


def net_with(layer):
    inputs = keras.Input((FEATURES,))
    x = layer(keraslip.layers.MaskedLipschitzDense(5)(inputs))
    return keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(CLASSES)(x))


class Louder(keraslip.LocalLipschitzModel):
    """Its graph says nothing of the factor."""

    def call(self, inputs, training=None, mask=None):
        return 10.0 * super().call(inputs, training=training, mask=mask)


class Renamed(keraslip.LocalLipschitzModel):
    """A subclass that computes what its parent computes."""


LAYERS = {
    "Squared": lambda: Squared(name="square"),
    "Doubled": lambda: Doubled(4, name="square"),
    "exponential": lambda: keras.layers.Dense(4, activation="exponential", name="square"),
    "normalized": lambda: keras.layers.LayerNormalization(name="square"),
    "shifted": lambda: keras.layers.ReLU(threshold=0.5, name="square"),
}


def printed(model):
    text = io.StringIO()
    complete = keraslip.check_model(model, Console(file=text, width=200))
    return complete, text.getvalue()


@pytest.mark.parametrize("case", LAYERS)
def test_compile_names_the_layer_and_check_model_prints_it(case):
    model = net_with(LAYERS[case]())
    with pytest.raises(NotImplementedError, match="square"):
        model.compile("sgd", epsilon=0.1)
    complete, text = printed(model)
    assert complete is False
    assert "none: " in text and "square" in text


def test_the_message_names_type_and_remedy():
    with pytest.raises(NotImplementedError, match="Squared at 'square'.*register_rule"):
        net_with(Squared(name="square")).compile("sgd", epsilon=0.1)


def test_fit_does_not_train_it():
    x, y = samples(8)
    model = net_with(Squared())
    with pytest.raises(NotImplementedError):
        model.compile("sgd", epsilon=0.1)
    with pytest.raises((NotImplementedError, ValueError), match="compile|rule"):
        model.fit(x, y, verbose=0)


def test_a_nested_layer_is_named_by_its_path():
    inner_input = keras.Input((5,))
    inner = keras.Model(inner_input, Squared(name="square")(inner_input), name="block")
    model = net_with(inner)
    with pytest.raises(NotImplementedError, match="block/square"):
        model.compile("sgd", epsilon=0.1)
    assert "block/square" in printed(model)[1]


def test_a_complete_model_is_printed_with_its_rules():
    model = conv_net()
    complete, text = printed(model)
    assert complete is True
    assert "none" not in text
    for layer in model.layers:
        assert layer.name in text
    assert "Conv2DRule" in text and "(None, 4, 4, 4)" in text


def of(kind):
    inputs = keras.Input((FEATURES,))
    return kind(inputs, keraslip.layers.MaskedLipschitzDense(CLASSES)(inputs), name="whole")


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.compile("sgd", epsilon=0.1),
        lambda model: model.estimate(samples(4)[0], epsilon=0.1),
        lambda model: model.explain(samples(4)[0], epsilon=0.1),
    ],
    ids=["compile", "estimate", "explain"],
)
def test_a_model_with_its_own_call_is_refused_for_its_graph_is_not_what_it_computes(use):
    use(of(Renamed))
    with pytest.raises(UnsupportedLayerError, match=r"'whole' is a Louder with a call\(\)"):
        use(of(Louder))


class OwnSequence(keras.Sequential):
    """A sequence with another `call`."""

    def call(self, inputs, training=None, mask=None):
        return 2.0 * super().call(inputs, training=training, mask=mask)


class Free(keras.Model):
    """A model without a graph."""

    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    "build, reason",
    [
        (lambda: of(Louder), "Louder with a call() of its own"),
        (lambda: OwnSequence([keras.Input((3,)), keras.layers.Dense(3)]), "OwnSequence with"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), "Sequential without a graph"),
        (Free, "Free without a graph"),
    ],
    ids=["own call", "own sequence", "unbuilt", "subclassed"],
)
def test_check_model_shows_a_model_whose_graph_is_not_what_it_computes(build, reason):
    complete, text = printed(build())
    assert complete is False
    assert "none: " in text
    assert reason in " ".join(text.split())


def test_check_model_takes_a_subclass_that_leaves_call_alone():
    assert printed(of(Renamed))[0] is True


def ends(last, shape=(FEATURES,), first=None, outputs=1):
    """A model from its input's shape and its last layer."""
    inputs = keras.Input(shape)
    x = inputs if first is None else first(inputs)
    found = [last(x) for _ in range(outputs)]
    return keraslip.LocalLipschitzModel(inputs, found[0] if outputs == 1 else found)


def two_in_one():
    inputs = keras.Input((FEATURES,))
    inner = keras.Model(inputs, [keras.layers.Dense(3)(inputs), keras.layers.Dense(3)(inputs)])
    inputs = keras.Input((FEATURES,))
    return keraslip.LocalLipschitzModel(inputs, keras.layers.Add()(inner(inputs)))


def broadcast_maximum():
    inputs = keras.Input((FEATURES,))
    narrow = keras.layers.Dense(1)(inputs)
    return keraslip.LocalLipschitzModel(
        inputs, keras.layers.Maximum()([keras.layers.Dense(3)(inputs), narrow])
    )


def inner_softmax():
    inner = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(3, activation="softmax")]
    )
    return ends(inner)


REFUSED = {
    "relu head": (lambda: ends(keras.layers.Dense(3, activation="relu")), "linear layer"),
    "ReLU": (lambda: ends(keras.layers.ReLU(), first=keras.layers.Dense(3)), "linear layer"),
    "softmax head": (lambda: ends(keras.layers.Dense(3, activation="softmax")), "linear layer"),
    "Softmax": (lambda: ends(keras.layers.Softmax(), first=keras.layers.Dense(3)), "linear layer"),
    "softmax inside": (inner_softmax, "softmax"),
    "unknown sizes": (
        lambda: ends(keras.layers.Dense(3), (None, None, 1), keras.layers.GlobalAveragePooling2D()),
        "size",
    ),
    "two outputs": (lambda: ends(keras.layers.Dense(3), outputs=2), "2 outputs"),
    "two outputs inside": (two_in_one, "2 outputs"),
    "one logit": (lambda: ends(keras.layers.Dense(1)), "two classes"),
    "an image of logits": (lambda: ends(keras.layers.Conv2D(3, 1), (2, 2, 1)), "two classes"),
    "a maximum that broadcasts": (broadcast_maximum, "several shapes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_check_model_says_in_words_what_compile_refuses(case):
    build, reason = REFUSED[case]
    model = build()
    with pytest.raises((NotImplementedError, ValueError), match=reason):
        model.compile("sgd", epsilon=0.1)
    complete, text = printed(model)
    assert complete is False and reason in " ".join(text.split())
    # The same layers in a model of Keras.
    complete, text = printed(keras.Model(model.inputs, model.outputs))
    assert complete is False and reason in " ".join(text.split())
