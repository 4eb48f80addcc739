"""What is the same network, and what is another."""

import os
import re
import subprocess
import sys
import sysconfig
import types
from fractions import Fraction
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.certify import Certificates
from keraslip.certify.execution.content import code_of, content
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.run import cascade
from keraslip.rules.signature import signature
from tests.certify.nets import dense_model

X = np.random.default_rng(0).uniform(size=(3, 4, 4, 2)).astype("float32")


def build(names="", **changed):
    """Branches, constants, a model inside, a layer used twice."""
    if names:  # automatic names count up
        layers.Conv2D(2, 3), layers.Dense(2), layers.ReLU(), layers.Rescaling(1.0)
    start = keras.Input((4, 4, 2))
    x = layers.Rescaling([1.0, 0.5], offset=0.25)(start)
    x = x + ops.convert_to_tensor([0.0, 1.0])
    twice = layers.Conv2D(2, 3, padding="same", activation="relu", kernel_regularizer="l2")
    x = layers.Add()([twice(x), twice(twice(x)), x])
    inside = keras.Sequential([keras.Input((4, 4, 2)), layers.ReLU(**changed), layers.Flatten()])
    x = keraslip.layers.ClippedMaxMin(1.0, -1.0)(layers.Dense(6)(inside(x)))
    model = keraslip.LocalLipschitzModel(start, layers.Dense(3)(x))
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    return model


def of(model):
    return network_of(model)[1]


def test_the_same_network(tmp_path):
    model = build()
    model.compile(keras.optimizers.SGD(0.0), epsilon=0.1)
    first, seen, network = of(model), signature(model), network_of(model)[0]
    assert of(build("others")) == first
    model.warm_starts.vectors[0].assign(model.warm_starts.vectors[0] * 2.0)
    model.run_state.epsilon.assign(0.2)
    model.run_state.set(1, 2, 1)
    model(X)
    assert of(model) == first and signature(model) == seen and network_of(model)[0] is network
    model.layers[1].trainable = False
    model.trainable_weights[0].regularizer = keras.regularizers.L2(1.0)
    model.compile(keras.optimizers.SGD(0.0), epsilon=0.3, bound="global")
    assert of(model) == first
    assert of(keraslip.float32_copy(model)) == first
    path = tmp_path / "model.keras"
    model.save(path)
    assert of(keras.models.load_model(path)) == first


def other_format(model):
    keras.config.set_image_data_format("channels_first")


def other_weight(model):
    model.trainable_weights[0].assign(model.trainable_weights[0] * 1.001)


@pytest.mark.parametrize("change", [other_format, other_weight])
def test_another_network(change):
    model = dense_model([np.eye(3), np.eye(3)])
    first = of(model)
    change(model)
    assert of(model) != first


def test_another_network_is_neither_resumed_nor_joined_nor_saved(tmp_path):
    one, other = build(), build(max_value=0.01)
    for this, that in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (this, that)))
    options = {"epsilon": 0.0, "verbose": False, "batch_size": 4, "effort": "frozen"}
    found = one.certify(X, **options)
    with pytest.raises(ValueError, match=r"cannot be resumed.*\['network'\]"):
        other.certify(X, resume=found, **options)
    with pytest.raises(ValueError, match=r"differs from part 0 in \['network'\]"):
        Certificates.join([found, other.certify(X, **options)])
    with pytest.raises(ValueError, match="not those that were certified"):
        found.save(tmp_path / "found.npz", other, X)
    assert one.certify(X, resume=found, **options).details["network"] == of(one)


def test_a_layer_that_changes_meanwhile_voids_the_result(monkeypatch):
    model = dense_model([np.eye(3), np.eye(3)])
    run = cascade.Cascade.run

    def changing(self, *args):
        run(self, *args)
        model.layers[1].activation = keras.activations.relu

    monkeypatch.setattr(cascade.Cascade, "run", changing)
    with pytest.raises(RuntimeError, match="changed while it was being certified"):
        model.certify(np.array([[0.9, 0.1, 0.2]], "float32"), epsilon=0.1, verbose=False)


def of_ones_own(code):
    """A model with an activation and a layer whose numbers are in their code alone, as from one file."""
    known = {"__name__": "nets_of_mine"}
    exec(code, known)
    start = keras.Input((3,))
    x = known["Steep"](name="steep")(layers.Dense(3, kernel_initializer="ones")(start))
    ends = layers.Dense(2, kernel_initializer="ones")(x)
    return keraslip.LocalLipschitzModel(start, ends)


OWN = """
import keras, keraslip
from dataclasses import dataclass
from keraslip.activations import Activation

TOP = 1.0

def capped(x):
    return keras.ops.minimum(x, TOP) * 4.0

@keras.saving.register_keras_serializable("mine")
class Steep(keras.layers.Layer):
    def call(self, x):
        return capped(x) / 4.0

@dataclass(frozen=True, eq=False)
class Limited(Activation):
    roundings = 0.0

    def call(self, z):
        return self.arithmetic.minimum(z, 1.0)

    def slopes(self, z, rho, hard):
        xp = self.arithmetic
        constant = rho <= z - 1.0
        return self.elementwise(0.0 * z, xp.where(constant, 0.0, xp.ones_like(z)))

@keraslip.register_rule(Steep)
class SteepRule(keraslip.rules.ActivationRule):
    def kind(self, layer):
        return Limited()
"""


def test_code_of_ones_own_is_a_part_of_the_network():
    """A number that is changed in a file between two sessions is in no attribute of an object."""
    first = of(of_ones_own(OWN))
    assert of(of_ones_own(OWN)) == first
    other = OWN.replace("1.0", "2.0")
    assert of(of_ones_own(other)) != first
    # The layer's global alone; nothing here holds it against the rule.
    layer = of_ones_own(OWN).layers[2], of_ones_own(OWN.replace("TOP = 1.0", "TOP = 2.0")).layers[2]
    one, two = (content(code_of(type(each))) for each in layer)
    assert one != two
    # A function that its `call` names is a part of it, too.
    kept = type(of_ones_own(OWN.replace("* 4.0", "* 4.5")).layers[2])
    assert content(code_of(kept)) != one
    assert code_of(layers.Dense) == code_of(keraslip.layers.ClippedReLU) == []
    assert code_of(keraslip.activations.PiecewiseLinear) == []


#: Ways from a layer's `call` to a number: what another module says, what its own says, and the factor in it.
WAYS = {
    "a function of a module": ("def f(): return NUMBER", "", "helpers.f()"),
    "a number of a module": ("TOP = NUMBER", "", "helpers.TOP"),
    "a function of a module that it imports": (
        "def f(): return NUMBER",
        "def f():\n import helpers_of_mine as own\n return own.f()",
        "f()",
    ),
    "a function that it imports": (
        "def f(): return NUMBER",
        "def f():\n from helpers_of_mine import f\n return f()",
        "f()",
    ),
    "a class": ("", "class A:\n def g(self): return NUMBER", "A().g()"),
    "a class of a module": ("class A:\n def g(self): return NUMBER", "", "helpers.A().g()"),
    "a list of a class": ("", "class A:\n tops = [NUMBER]", "A.tops[0]"),
    "a base of a class": ("class A:\n top = NUMBER", "class B(helpers.A): pass", "B.top"),
    "a property": ("", "class A:\n @property\n def top(self): return NUMBER", "A().top"),
    "a function inside": ("", "TOP = NUMBER\ndef f(): return (lambda: TOP)()", "f()"),
    "a closure": ("", "def around(top): return lambda: top\nf = around(NUMBER)", "f()"),
    "a function in a closure": (
        "",
        "def around(f): return lambda: f()\nf = around(lambda: NUMBER)",
        "f()",
    ),
    "a partial": ("", "from functools import partial\nf = partial(max, NUMBER)", "f(0.0)"),
    "a lambda": ("", "f = lambda: NUMBER", "f()"),
    "a default": ("", "def f(top=NUMBER): return top", "f()"),
    "a default by name": ("", "def f(*, top=NUMBER): return top", "f()"),
    "a bound method": ("", "class A:\n top = NUMBER\n def g(self): return self.top\nf = A().g", "f()"),
    "an object that is called": ("", "class A:\n def __call__(self): return NUMBER\na = A()", "a()"),
    "an object's attribute": ("", "class A: pass\na = A()\na.top = NUMBER", "a.top"),
    "a namespace": ("", "from types import SimpleNamespace\na = SimpleNamespace(top=NUMBER)", "a.top"),
    "an array": ("", "import numpy as np\na = np.full(1, NUMBER)", "a[0]"),
    "a list": ("", "a = [NUMBER]", "a[0]"),
    "a dictionary": ("", "a = {'top': NUMBER}", "a['top']"),
    "functions in a dictionary": ("", "a = {'top': lambda: NUMBER}", "a['top']()"),
    "a function that is kept": ("", "from functools import cache\n@cache\ndef f(): return NUMBER", "f()"),
    "a layer": ("", "a = keras.layers.Rescaling(NUMBER)", "a(x)"),
}  # fmt: skip


@pytest.mark.any_backend("Python objects")
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_a_number_is_a_part_of_the_code(way, monkeypatch):
    beside, front, factor = WAYS[way]

    def found(number):
        helpers = types.ModuleType("helpers_of_mine")
        exec(beside.replace("NUMBER", number), vars(helpers))
        monkeypatch.setitem(sys.modules, "helpers_of_mine", helpers)
        known = {"__name__": "nets_of_mine", "helpers": helpers, "keras": keras}
        layer = f"class Own(keras.layers.Layer):\n def call(self, x): return x * {factor}"
        exec(f"{front.replace('NUMBER', number)}\n{layer}", known)
        return content(code_of(known["Own"]))

    assert found("1.0") == found("1.0") != found("2.0")


@pytest.mark.any_backend("Python objects")
@pytest.mark.parametrize("said", ["x * NUMBER", "x * TOP"])
def test_a_base_of_an_installed_package_is_a_part_of_the_code(said, monkeypatch):
    def found(number):
        package = types.ModuleType("installed")
        package.__file__ = str(Path(sysconfig.get_path("purelib"), "installed.py"))
        monkeypatch.setitem(sys.modules, "installed", package)
        base = f"class Base(Layer):\n def scaled(self, x): return {said}".replace("NUMBER", number)
        exec(f"from keras.layers import Layer\nTOP = {number}\n{base}", vars(package))
        known = {"__name__": "nets_of_mine", "Base": package.Base}
        exec("class Own(Base):\n def call(self, x): return self.scaled(x)", known)
        return content(code_of(known["Own"]))

    assert found("1.0") == found("1.0") != found("2.0")


class Held:
    """Its state is an array alone."""

    __slots__ = ("top",)

    def __init__(self, top):
        self.top = np.asarray(top)

    def __getstate__(self):
        return self.top


@pytest.mark.any_backend("Python objects")
def test_a_state_that_is_an_array_has_a_hash():
    assert content(Held([1.0, 2.0])) == content(Held([1.0, 2.0])) != content(Held([1.0, 3.0]))


@pytest.mark.any_backend("Python objects")
def test_an_attribute_is_no_global_of_the_same_name():
    """A script's tensor, which holds no number."""
    known = {"keras": keras, "scale": keras.Input((3,))}
    exec("class Own(keras.layers.Layer):\n def call(self, x): return x * self.scale", known)
    assert content(code_of(known["Own"])) == content(code_of(known["Own"]))


@pytest.mark.any_backend("Python objects")
def test_a_function_that_a_layer_holds_is_a_part_of_it():
    """A configuration has its name alone."""

    def layer(number):
        exec(f"def mine(x): return x * {number}", known := {"__name__": "nets_of_mine"})
        return layers.Dense(2, activation=known["mine"])

    assert content(layer(1.0)) == content(layer(1.0)) != content(layer(2.0))


@pytest.mark.any_backend("Python objects")
def test_code_has_one_hash_in_every_process(tmp_path):
    """Sets and addresses differ from process to process."""
    ways = {w: [part.replace("NUMBER", "1.0") for part in WAYS[w]] for w in WAYS}
    helpers = "\n".join(beside for beside, _, _ in ways.values())
    (tmp_path / "helpers_of_mine.py").write_text(helpers)
    layer = "class Own(keras.layers.Layer):\n def call(self, x): return x * "
    fronts = [f"{front}\n{layer}{factor}\nKINDS.append(Own)" for _, front, factor in ways.values()]
    names = (
        "\nSAID = {'a', 'b', 'c', 'd'}\nclass Own:\n def f(self): return SAID\nKINDS.append(Own)"
    )
    shown = "\nprint([content(code_of(kind)) for kind in KINDS])"
    head = "import keras, helpers_of_mine as helpers\nKINDS = []\n"
    head += "from keraslip.certify.execution.content import *\n"
    (tmp_path / "main.py").write_text(head + "\n".join(fronts) + names + shown)
    run = [sys.executable, tmp_path / "main.py"]
    first, second = (
        subprocess.run(
            run, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        )
        for seed in "12"
    )
    assert first.stdout == second.stdout


class Slots:
    __slots__ = ("top",)

    def __init__(self, top):
        self.top = top


@pytest.mark.any_backend("Python objects")
@pytest.mark.parametrize(
    ("value", "same", "other"),
    [
        (re.compile("a"), re.compile("a"), re.compile("b")),
        (np.dtype("float32"), np.dtype("float32"), np.dtype("float64")),
        (Path("a"), Path("a"), Path("b")),
        (range(3), range(3), range(4)),
        (Fraction(1, 3), Fraction(1, 3), Fraction(1, 2)),
        (Slots(1.0), Slots(1.0), Slots(2.0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_without_attributes_have_a_hash(value, same, other):
    assert content(value) == content(same) != content(other)


def test_what_has_no_number_is_equal_to_nothing():
    tensor = keras.Input((3,))
    assert content(tensor) != content(tensor)
    hidden = Hidden()
    assert content(hidden) != content(hidden)
    assert content([hidden.dtype, hidden.shape]) == content([hidden.dtype, hidden.shape])


class Hidden:
    """What some tensors are: they have a type, and say nothing of what they hold."""

    shape, dtype = (), np.dtype("float32")

    def __array__(self, dtype=None, copy=None):
        raise NotImplementedError("no numbers")


@pytest.mark.any_backend("Python objects")
def test_words_in_an_array_are_a_part_of_it():
    for kind in (object, None):
        one, other = (np.array([["a", last]], kind) for last in "bc")
        assert content(one) == content(one.copy()) != content(other)
        assert content(one) != content(one.reshape(-1))
    assert content(np.ndarray) == content(np.ndarray) != content(np.generic)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own tensors")
def test_a_layer_that_names_a_data_set_certifies():
    """Its tensor is no number: the layer may have read anything, and is the same as no other."""
    import tensorflow as tf

    words = [tf.constant([word]) for word in "ab"]
    assert content(words[0]) == content(tf.constant(["a"])) != content(words[1])
    model = of_ones_own("DATA = None\n" + OWN.replace("/ 4.0", "/ (4.0 if DATA is None else 4.0)"))
    known = type(model.layers[2]).call.__globals__
    assert of(model) == of(model)
    data = tf.data.Dataset.range(3)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1], [1.0]), 0.0)
    for known["DATA"] in (data, iter(data), table):
        assert of(model) != of(model)
    x, options = np.ones((1, 3), "float32"), {"epsilon": 0.0, "verbose": False}
    found = model.certify(x, **options)
    assert np.isfinite(found.margin).all()
    with pytest.raises(ValueError, match=r"cannot be resumed.*\['network'\]"):
        model.certify(x, resume=found, **options)


def test_content_is_what_a_value_means():
    assert content((1, 1)) == content([1.0, 1.0]) == content(np.ones(2, "float32"))
    assert content({"a": 1, "b": None}) == content({"b": None, "a": 1})
    assert content(ops.convert_to_tensor([0.1])) == content(np.array([0.1], "float32"))
    different = [
        0.1,
        np.float32(0.1),
        [0.1],
        np.nextafter(0.1, 1),
        True,
        "0.1",
        None,
        {},
        (),
        np.nan,
        np.inf,
    ]
    assert len({content(value) for value in different}) == len(different)
    assert content(object()) != content(object())
    number = 2.0
    functions = [lambda x: x, lambda x: x + 1, lambda x: x + 2, lambda x: x + number]
    assert len({content(function) for function in functions}) == 4
