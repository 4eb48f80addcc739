"""Samples in blocks: arrays and streams, and what is refused."""

import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keraslip
from keraslip.certify.run.inputs import blocks
from keraslip.certify.run.settings import Settings
from keraslip.input_range import RangeWarning

SHAPE, CLASSES = (3, 2), 4
#: All that is read of a model.
MODEL = SimpleNamespace(
    inputs=[keras.KerasTensor((None, *SHAPE))],
    outputs=[keras.KerasTensor((None, CLASSES))],
    compiled=False,
)
X = np.arange(11 * 6, dtype="float32").reshape(11, 3, 2) / 66
Y = np.arange(11) % CLASSES


def read(x, y=None, size=4):
    stream, count = blocks(MODEL, x, y, size)
    found = list(stream)
    assert all(block.x.dtype == "float32" for block in found)
    assert all(len(block.x) == size for block in found[:-1]) and len(found[-1].x) <= size
    inputs = np.concatenate([block.x for block in found])
    if any(block.y is None for block in found):
        assert all(block.y is None for block in found)
        return inputs, None, count
    assert all(block.y.dtype == "int64" and block.y.ndim == 1 for block in found)
    return inputs, np.concatenate([block.y for block in found]), count


class Batches(keras.utils.PyDataset):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    @property
    def num_batches(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index]


@pytest.mark.parametrize("size", [1, 4, 11, 100])
def test_arrays(size):
    x, y, count = read(X, None, size)
    np.testing.assert_array_equal(x, X)
    assert y is None and count == 11
    for labels in (Y, Y[:, None], np.eye(CLASSES)[Y], Y.tolist(), Y.astype("uint8")):
        x, y, _ = read(X, labels, size)
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, Y)


def test_other_kinds_of_arrays():
    for given in (X.astype("float64"), X.tolist(), keras.ops.convert_to_tensor(X)):
        np.testing.assert_array_equal(read(given)[0], X)
    x, _, _ = read((X * 255).astype("uint8"))
    np.testing.assert_array_equal(x, (X * 255).astype("uint8"))


@pytest.mark.parametrize("sizes", [(11,), (3, 3, 3, 2), (1,) * 11, (5, 6), (8, 3)])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_streams_of_any_batches(sizes, size):
    edges = np.cumsum((0, *sizes))
    parts = [slice(*pair) for pair in zip(edges, edges[1:], strict=False)]
    kinds = {
        "x": [X[p] for p in parts],
        "x, y": [(X[p], Y[p]) for p in parts],
        "x, one-hot": [(X[p], np.eye(CLASSES)[Y[p]]) for p in parts],
        "x, y, weight": [(X[p], Y[p], np.ones(len(Y[p]))) for p in parts],
    }
    for kind, batches in kinds.items():
        for stream in (batch_generator(batches), Batches(batches)):
            x, y, count = read(stream, None, size)
            np.testing.assert_array_equal(x, X)
            assert count is None
            if kind == "x":
                assert y is None
            else:
                np.testing.assert_array_equal(y, Y)


def batch_generator(batches):
    yield from batches


def test_streams_of_the_backends(backend):
    if backend == "tensorflow":
        import tensorflow as tf

        stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(3)
    elif backend == "torch":
        import torch

        data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
        stream = torch.utils.data.DataLoader(data, batch_size=3)
    else:
        import jax.numpy as jnp

        stream = ((jnp.asarray(X[i : i + 3]), jnp.asarray(Y[i : i + 3])) for i in range(0, 11, 3))
    x, y, _ = read(stream)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_a_stream_is_read_as_far_as_it_is_needed():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield X[:3]

    stream, count = blocks(MODEL, endless(), None, 4)
    next(stream)
    assert len(taken) == 2 and count is None


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, :2], None, r"x must have shape \(n, 3, 2\)"),
        (X[0], None, r"Received: \(3, 2\)"),
        (X[:0], None, "with n >= 1"),
        (X.astype("complex64"), None, "real numbers"),
        (np.full_like(X, np.nan), None, "x holds NaN or infinity"),
        (np.where(np.arange(11)[:, None, None] == 7, np.inf, X), None, "at index 7"),
        (X, Y[:-1], "differ in length. Received: 11 and 10"),
        (X, Y + 1, "Labels must lie in 0..3"),
        (X, Y.astype("float32"), "must be integers"),
        (X, np.ones((11, 4)), "one-hot"),
        (X, np.eye(3)[Y % 3], "class indices"),
        (iter([X]), Y, "brings its own labels"),
        (3.0, None, "an array or a stream"),
        (iter([X[:, :2]]), None, "x must have shape"),
        (iter([(X, Y + 1)]), None, "Labels must lie"),
        (iter([X, np.full_like(X, np.nan)]), None, "x holds NaN"),
        (iter([(X[:3], Y[:3]), X[3:]]), None, "in every batch.*a batch without labels"),
        (iter([X[:8], (X[8:], Y[8:])]), None, "in every batch.*a batch with labels"),
    ],
)
def test_what_is_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        read(x, y)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("guarantee", "sound"), ("arithmetic", "bfloat16"), ("effort", 1), ("conv", None),
        ("delta", 0.0), ("delta", 1.0), ("delta", 1), ("delta", float("nan")), ("batch_size", 0),
        ("batch_size", 2.5), ("batch_size", True), ("workers", 0), ("workers", -1),
        ("workers", "2"),
    ],
)  # fmt: skip
def test_options_out_of_range(option, value):
    with pytest.raises(ValueError, match=f"{option} must be.*Received: {option}="):
        Settings(**{option: value})


def test_options():
    assert Settings().threads >= 1 and Settings(workers=3).threads == 3
    assert Settings().backwards and not Settings(effort="frozen").backwards
    assert Settings().describe() == {"effort": "full", "conv": "auto"}
    assert Settings(guarantee="probabilistic", delta=1e-6).describe()["delta"] == 1e-6


def distances(x):
    stream, _ = blocks(MODEL, x, None, 100)
    return next(stream)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64", "bool"])
def test_what_float32_holds_is_taken_as_it_is(dtype):
    block = distances((200 * X).astype(dtype))
    assert block.x.dtype == "float32" and (block.off == 0.0).all()
    np.testing.assert_array_equal(block.radii(np.full(11, 0.1)), 0.1)
    np.testing.assert_array_equal(block.around_given(np.full(11, 0.1)), 0.1)


def test_what_float32_rounds_is_as_far_off_as_it_is():
    given = np.random.default_rng(0).uniform(size=(11, *SHAPE))
    block = distances(given)
    true = np.linalg.norm((block.x.astype("float64") - given).reshape(11, -1), axis=1)
    assert (block.off >= true).all() and (block.off <= true * (1 + 1e-9)).all() and true.min() > 0
    assert (block.radii(np.full(11, 0.1)) >= 0.1 + true).all()
    assert (block.around_given(np.full(11, 0.1)) <= 0.1 - true).all()
    assert (block.around_given(true / 2) == 0.0).all()
    # Whole numbers, too, and batches of streams.
    whole = np.full((1, *SHAPE), 2**24 + 1)
    assert distances(whole).off[0] >= np.sqrt(6.0)
    stream, _ = blocks(MODEL, iter([given[:4], given[4:]]), None, 11)
    np.testing.assert_array_equal(next(stream).off, block.off)


def test_numbers_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="that float32.*cannot hold.*1e\\+39"):
        distances(np.full((1, *SHAPE), 1e39))


class Endless(Batches):
    """Batches that go round for ever."""

    def __getitem__(self, index):
        return self.parts[index % len(self.parts)]

    @property
    def num_batches(self):
        return None


class Silent(Endless):
    """Says nothing of its length."""

    @property
    def num_batches(self):
        raise NotImplementedError


def repeated(parts):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices(parts[0]).batch(3).repeat()


ENDLESS = {"None": Endless, "silent": Silent, "cycle": itertools.cycle, "tf.data": repeated}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_stream_without_end_needs_steps(kind):
    def stream():
        return ENDLESS[kind]([(X[:3], Y[:3])])

    with pytest.raises(ValueError, match="pass steps"):
        blocks(MODEL, stream(), None, 4)
    found = list(blocks(MODEL, stream(), None, 4, steps=np.int64(3))[0])
    np.testing.assert_array_equal(
        np.concatenate([block.x for block in found]), np.tile(X[:3], (3, 1, 1))
    )


def test_steps_of_other_streams():
    def whole():
        yield X[:4]
        yield X[4:8]
        raise AssertionError("read too far")

    assert [len(block.x) for block in blocks(MODEL, whole(), None, 6, steps=2)[0]] == [
        6,
        2,
    ]
    for stream in (Batches([X[:4], X[4:]]), iter([X[:4], X[4:]])):
        (block,) = blocks(MODEL, stream, None, 20, steps=5)[0]
        np.testing.assert_array_equal(block.x, X)
    with pytest.raises(ValueError, match="steps are batches of a stream"):
        blocks(MODEL, X, Y, 4, steps=2)
    for steps in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="steps must be an integer >= 1"):
            blocks(MODEL, iter([X]), None, 4, steps=steps)


def test_every_guarantee_reads_streams():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    outputs = keras.layers.Dense(CLASSES)(keras.layers.Flatten()(inputs))
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    endless = [(X[:3], Y[:3])]
    for guarantee in ("proved", "probabilistic", "estimate"):
        options = {"epsilon": 0.1, "guarantee": guarantee}
        found = model.certify(itertools.cycle(endless), steps=2, workers=1, verbose=0, **options)
        np.testing.assert_array_equal(found.label, np.tile(Y[:3], 2))
        values = model.local_lipschitz(itertools.cycle(endless), steps=2, **options)
        np.testing.assert_allclose(values, model.local_lipschitz(X[:1], **options)[0], rtol=1e-5)
        for ask in (model.certify, model.local_lipschitz):
            with pytest.raises(ValueError, match="pass steps"):
                ask(itertools.cycle(endless), **options)
            with pytest.raises(ValueError, match="empty"):
                ask(iter([]), **options)
    for radii in (np.ones(5), np.ones(7)):
        for ask in (model.certify, model.local_lipschitz):
            with pytest.raises(ValueError, match="one for each sample"):
                ask(itertools.cycle(endless), epsilon=radii, steps=2)
    with pytest.raises(ValueError, match="x must be an array"):
        model.estimate(iter(endless), epsilon=0.1)


@pytest.mark.parametrize(
    ("expected", "told"), [((0.0, 1.0), True), ((-3.0, 3.0), False), (None, False)]
)
def test_samples_outside_of_the_compiled_range_are_told_once(expected, told, recwarn):
    inputs = keras.Input(SHAPE)
    outputs = keras.layers.Dense(CLASSES)(keras.layers.Flatten()(inputs))
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    model.compile("adam", epsilon=0.1, input_range=expected)
    x = np.linspace(-1, 2, 600 * 6, dtype="float32").reshape(600, *SHAPE)
    # Rounding is no other unit.
    model.certify(np.clip(x, -1e-7, 1.0 + 1e-7), verbose=False)
    model.local_lipschitz(x[250:300] * 0.0 + 0.5)
    assert not [one for one in recwarn if one.category is RangeWarning]
    for call in (lambda: model.certify(x, verbose=False), lambda: model.local_lipschitz(x)):
        call()
        found = [recwarn.pop(RangeWarning) for one in recwarn if one.category is RangeWarning]
        assert len(found) == told
        for one in found:
            assert "compiled for inputs from 0 to 1" in str(one.message)
            assert one.filename == __file__
