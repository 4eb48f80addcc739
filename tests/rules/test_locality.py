"""Which norms leave constant units out, and what it costs: one vector for all, or one for each sample."""

import keras
import numpy as np
import pytest
from keras import layers

import keraslip
from keraslip.rules.locality import Locality
from keraslip.rules.norm_shapes import logits_lipschitz
from keraslip.rules.propagation import Propagation
from keraslip.rules.walk import propagate
from tests.harness import tensor

X = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype("float32")
#: Where a norm of `network` is taken, in order.
PLACES = ["clip_1", "clip_2", "clip_3", "/logits"]


def network(activation=None):
    activation = activation or (lambda name: keraslip.layers.ClippedReLU(0.5, name=name))
    inputs = keras.Input((8, 8, 1))
    x = keraslip.layers.MaskedLipschitzConv2D(4, 3, strides=2, name="conv_1")(inputs)
    x = activation("clip_1")(x)
    x = keraslip.layers.MaskedLipschitzConv2D(4, 3, name="conv_2")(x)
    x = layers.Flatten(name="flat")(activation("clip_2")(x))
    x = activation("clip_3")(layers.Dense(6, name="dense_1")(x))
    return keraslip.LocalLipschitzModel(inputs, layers.Dense(3, name="last")(x))


def local_norms(model, local, bound="local", x=X):
    """Places whose norm is found for every sample, in a training pass, and the pass; of shapes alone."""
    taken = []

    class Watched(Propagation):
        def _norm(self, index, pending, columns, rows, learn=True):
            sigma = super()._norm(index, pending, columns, rows, learn)
            if sigma.shape[0] != 1:
                taken.append(self._name())
            return sigma

    locality = None if local is None else Locality.chosen(local, model.warm_starts.closings)
    passes = []

    class Pass(keras.Operation):
        def call(self, x):
            taken.clear()
            context = Watched(tensor(0.1), model.warm_starts, bound, 2, 1, locality, training=True)
            passes.append(context)
            return logits_lipschitz(propagate(model, x, context), context)

    Pass().compute_output_spec(keras.KerasTensor(x.shape, "float32"))
    return taken, passes[-1]


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        (None, PLACES),
        ("all", PLACES),
        ("auto", ["clip_3", "/logits"]),
        ("dense", ["clip_3", "/logits"]),
        (["conv_2"], ["clip_2"]),
        (["dense_1", "conv_1"], ["clip_1", "clip_3"]),
        (["clip_2"], ["clip_2"]),
        (["last"], ["/logits"]),
    ],
    ids=str,
)
def test_choices(local, expected):
    model = network()
    taken, context = local_norms(model, local)
    assert taken == expected
    # Every vector is kept warm, and is one.
    assert {tuple(v.shape) for v in context.next_starts.values()} == {
        tuple(w.shape) for w in model.warm_starts.vectors
    }
    masks = {record.key: record.ball.varying is not None for record in context.records}
    for place, before in zip(PLACES[1:], PLACES, strict=False):
        assert masks[before] == (before in expected or place in expected)


def test_global_norms_and_unclipped_maxmin_take_one_vector():
    assert local_norms(network(), "all", "global")[0] == []
    plain = network(lambda name: keraslip.layers.MaxMin(name=name))
    for bound in ("local", "global", "paper"):
        assert local_norms(plain, "all", bound)[0] == []
    assert local_norms(network(), "auto", "paper")[0] == PLACES


def test_the_bound_of_unclipped_maxmin_is_the_global_one():
    model = network(lambda name: keraslip.layers.MaxMin(name=name))
    found = [model.estimate(X, epsilon=0.1, bound=b).lipschitz for b in ("local", "global")]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_masks_make_norms_smaller_where_they_are_chosen():
    model = network()
    found = [
        model.estimate(X, epsilon=0.02, local=local, bound="local").lipschitz
        for local in ("all", "auto", ["last"])
    ]
    everywhere = model.estimate(X, epsilon=0.02, bound="global").lipschitz
    for smaller, larger in zip(found, [*found[1:], everywhere], strict=True):
        assert (smaller <= larger * (1 + 1e-4)).all() and (smaller < larger).any()


def test_a_nested_model_and_a_layer_that_is_called_twice():
    inner_inputs = keras.Input((6,))
    deep = keraslip.layers.ClippedReLU(0.5)(layers.Dense(6, name="deep")(inner_inputs))
    inner = keras.Model(inner_inputs, deep, name="inner")
    twice = layers.Dense(6, name="twice")
    inputs = keras.Input((6,))
    x = keraslip.layers.ClippedReLU(0.5)(twice(inputs))
    x = keraslip.layers.ClippedReLU(0.5)(twice(inner(x)))
    model = keraslip.LocalLipschitzModel(inputs, layers.Dense(3)(x))
    closings = model.warm_starts.closings
    assert len(Locality.chosen(["deep"], closings).norms) == 1
    assert Locality.chosen(["deep"], closings) == Locality.chosen(["inner/deep"], closings)
    assert len(Locality.chosen(["twice"], closings).norms) == 2
    assert len(Locality.chosen(["twice:2"], closings).norms) == 1


@pytest.mark.parametrize(
    "bad",
    ["dens", "", None, 1, [], [1], {"conv_1": 1}, ["conv_1", "conv_9"], ["/logits9"], ["flat"]],
)
def test_what_is_no_choice(bad):  # fmt: skip
    with pytest.raises(ValueError, match="local must .*Received: "):
        network().compile("sgd", epsilon=0.1, local=bad)
    with pytest.raises(ValueError, match="local must"):
        network().estimate(X, epsilon=0.1, local=bad)


def test_an_input_is_no_layer_with_a_norm():
    model = network()
    name = model.layers[0].name
    with pytest.raises(ValueError, match=f"conv_1.*Received: '{name}'"):
        model.compile("sgd", epsilon=0.1, local=[name])


def test_dropout_closes_where_it_is_told():
    inputs = keras.Input((6,))
    x = keraslip.layers.ClippedReLU(0.5, name="clip")(layers.Dense(8, name="first")(inputs))
    x = layers.Dropout(0.5, seed=1, name="drop")(layers.Dense(6, name="second")(x))
    x = keraslip.layers.ClippedReLU(0.5, name="end")(x)
    model = keraslip.LocalLipschitzModel(inputs, layers.Dense(3)(x))
    assert "drop" in Locality.chosen(["second"], model.warm_starts.closings).norms
    taken, _ = local_norms(model, "auto", x=np.ones((3, 6), "float32"))
    assert taken == ["clip", "drop", "end", "/logits"]
    assert local_norms(model, ["first"], x=np.ones((3, 6), "float32"))[0] == ["clip"]
