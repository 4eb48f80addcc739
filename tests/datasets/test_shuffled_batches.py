"""Every epoch's batches depend on the seed and the epoch alone, also inside `fit`."""

import pickle
import threading

import keras
import numpy as np
import pytest

from keraslip.datasets import ShuffledBatches
from keraslip.datasets.augment import AUGMENTATIONS, shift_rotate

SAMPLES = 37


def arrays(samples: int = SAMPLES, shape: tuple[int, ...] = (3,)):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(samples, *shape)).astype("float32")
    return x, np.arange(samples, dtype="int32") % 4


def seen(batches: ShuffledBatches, epoch: int) -> list[np.ndarray]:
    batches.set_epoch(epoch)
    return [x for x, _ in batches]


def model(built: bool = True) -> keras.Model:
    layers = [keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(1))]
    net = keras.Sequential([keras.Input((3,)), *layers] if built else layers)
    net.compile(
        keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return net


class Epochs(keras.callbacks.Callback):
    """Notes Keras' epoch and the one that the batches are drawn from, at every step."""

    def __init__(self, batches: ShuffledBatches) -> None:
        super().__init__()
        self.batches, self.pairs, self.current = batches, [], -1

    def on_epoch_begin(self, epoch, logs=None):
        self.current = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.pairs.append((self.current, self.batches.epoch))


def fit(net: keras.Model, batches: ShuffledBatches, first: int, last: int, **kwargs) -> list:
    epochs = Epochs(batches)
    net.fit(
        batches,
        initial_epoch=first,
        epochs=last,
        shuffle=False,
        verbose=0,
        callbacks=[epochs],
        **kwargs,
    )
    return epochs.pairs


def test_an_epoch_holds_every_sample_once_in_an_order_of_its_own():
    batches = ShuffledBatches(np.arange(SAMPLES), np.arange(SAMPLES), 5)
    orders = [np.concatenate(seen(batches, epoch)) for epoch in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(SAMPLES))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], np.arange(SAMPLES))


def test_inputs_keep_their_labels():
    x, y = arrays()
    for batch, labels in ShuffledBatches(x, y, 5, augment=lambda batch, _: batch):
        for row, label in zip(batch, labels, strict=True):
            assert y[np.flatnonzero((x == row).all(1))] == label


@pytest.mark.parametrize("augment", [None, *AUGMENTATIONS])
def test_batches_depend_on_seed_and_epoch_alone(augment):
    x, y = arrays(shape=(8, 8, 1))
    one = ShuffledBatches(x, y, 5, seed=3, augment=augment)
    other = ShuffledBatches(x, y, 5, seed=3, augment=augment, start_epoch=2)
    for epoch in (2, 0):
        for a, b in zip(seen(one, epoch), seen(other, epoch), strict=True):
            np.testing.assert_array_equal(a, b)
    different = ShuffledBatches(x, y, 5, seed=4, augment=augment)
    assert not np.array_equal(one[0][0], different[0][0])


def test_the_last_batch_is_kept_or_dropped():
    x, y = arrays()
    assert [len(b) for b, _ in ShuffledBatches(x, y, 10)] == [10, 10, 10, 7]
    assert [len(b) for b, _ in ShuffledBatches(x, y, 10, drop_remainder=True)] == [10, 10, 10]
    assert [len(b) for b, _ in ShuffledBatches(x, y, 100)] == [SAMPLES]


@pytest.mark.parametrize("built", [True, False], ids=["built", "built by fit"])
@pytest.mark.parametrize("batch_size", [5, 20, 37, 64])
def test_fit_serves_the_batches_of_its_own_epoch(batch_size, built):
    x, y = arrays()
    steps = -(-SAMPLES // batch_size)
    for first, last in ((0, 3), (2, 4)):
        batches = ShuffledBatches(x, y, batch_size, start_epoch=first)
        pairs = fit(model(built), batches, first, last)
        assert pairs == [(epoch, epoch) for epoch in range(first, last) for _ in range(steps)]


@pytest.mark.parametrize("built", [True, False], ids=["built", "built by fit"])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(built, tmp_path):
    x, y = arrays()
    whole, half = model(built), model(built)
    fit(whole, ShuffledBatches(x, y, 5), 0, 4)
    fit(half, ShuffledBatches(x, y, 5), 0, 2)
    half.save(tmp_path / "half.keras")
    resumed = keras.models.load_model(tmp_path / "half.keras")
    fit(resumed, ShuffledBatches(x, y, 5, start_epoch=2), 2, 4)
    np.testing.assert_array_equal(whole.get_weights()[0], resumed.get_weights()[0])


def test_one_object_serves_one_fit_after_the_other():
    x, y = arrays()
    net, batches = model(), ShuffledBatches(x, y, 5)
    validation = {"validation_data": (x, y), "class_weight": {0: 2.0, 1: 1.0, 2: 1.0, 3: 1.0}}
    assert {pair for pair in fit(net, batches, 0, 2, **validation)} == {(0, 0), (1, 1)}
    assert {pair for pair in fit(net, batches, 2, 4, **validation)} == {(2, 2), (3, 3)}


def test_set_epoch_puts_an_interrupted_fit_right():
    x, y = arrays()
    net, batches = model(), ShuffledBatches(x, y, 5)

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(batches, shuffle=False, verbose=0, callbacks=[Interrupt()])
    batches.set_epoch(1)
    assert {pair for pair in fit(net, batches, 1, 3)} == {(1, 1), (2, 2)}


def test_fit_must_not_shuffle_again():
    x, y = arrays()
    with pytest.raises(Exception, match="pass `shuffle=False` to `fit`"):
        model().fit(ShuffledBatches(x, y, 2), verbose=0)


@pytest.mark.parametrize(("name", "padding"), [("crop_flip", 4), ("crop2_flip", 2), ("flip", 0)])
def test_whole_images_are_shifted_and_mirrored(name, padding):
    rng = np.random.default_rng(0)
    images = rng.uniform(0.1, 1, (64, 6, 7, 3)).astype("float32")
    changed = AUGMENTATIONS[name](images, np.random.default_rng(1))
    assert changed.shape == images.shape and changed.dtype == images.dtype
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    shifts, mirrored = set(), 0
    for before, after in zip(padded, changed, strict=True):
        places = [
            (top, left, flip)
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            for flip in (1, -1)
            if np.array_equal(before[top : top + 6, left : left + 7][:, ::flip], after)
        ]
        assert places
        shifts |= {place[:2] for place in places}
        mirrored += places[0][2] == -1
    assert len(shifts) > (2 * padding + 1) ** 2 // 3 and 16 < mirrored < 48


def test_shift_rotate_moves_each_image_as_a_whole():
    # A dot on the axis through the center and one beside it: their distance stays, their direction turns.
    images = np.zeros((64, 28, 35, 2), "float32")
    images[:, 14, 17, 0] = images[:, 14, 24, 1] = 1.0
    changed = shift_rotate(images, np.random.default_rng(1))
    assert changed.shape == images.shape and changed.dtype == images.dtype
    assert changed.min() >= 0.0 and changed.max() <= 1.0
    grid = np.indices((28, 35))[..., None]
    places = (changed[:, None] * grid).sum((2, 3)) / changed.sum((1, 2))[:, None]
    shift = places[..., 0] - [14, 17]
    across = places[..., 1] - places[..., 0]
    angle = np.degrees(np.arctan2(*across.T))
    np.testing.assert_allclose(np.hypot(*across.T), 7, atol=0.2)
    for found, limit in ((shift, 2), (angle, 10)):
        assert (
            np.abs(found).max() < limit + 0.5 and found.min() < -limit / 2 < limit / 2 < found.max()
        )


def test_the_next_batch_is_made_while_one_is_in_use():
    x, y = np.arange(SAMPLES), np.arange(SAMPLES)
    made, second = [], threading.Event()

    def augment(batch, _):
        made.append(threading.current_thread())
        if len(made) == 2:
            second.set()
        return batch

    batches = ShuffledBatches(x, y, 5, augment=augment)
    first, _ = batches[0]
    assert second.wait(30)  # though nobody has asked for it
    assert threading.current_thread() not in made
    ahead, _ = batches[1]
    plain = ShuffledBatches(x, y, 5)
    np.testing.assert_array_equal(first, plain[0][0])
    np.testing.assert_array_equal(ahead, plain[1][0])


def test_batches_asked_for_in_any_order_are_the_same():
    x, y = arrays()
    batches = ShuffledBatches(x, y, 5, augment=lambda batch, rng: batch + rng.uniform())
    in_turn = seen(batches, 3)
    for index in (4, 5, 0, 7, 7, 2):
        np.testing.assert_array_equal(batches[index][0], in_turn[index])


def test_an_error_in_a_function_that_augments_is_raised():
    def augment(batch, _):
        raise ZeroDivisionError("of the user")

    x, y = arrays()
    with pytest.raises(ZeroDivisionError, match="of the user"):
        ShuffledBatches(x, y, 5, augment=augment)[0]


def test_a_copy_serves_the_same_batches():
    x, y = arrays(shape=(8, 8, 1))
    batches = ShuffledBatches(x, y, 5, augment="crop_flip")
    first = batches[0][0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(batches))[0][0], first)


def test_a_function_can_augment():
    x, y = arrays()
    batches = ShuffledBatches(x, y, 5, augment=lambda batch, rng: batch + rng.integers(1, 3))
    assert np.all(batches[0][0] >= 1)
    np.testing.assert_array_equal(batches[1][0], batches[1][0])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be an integer >= 1. Received: batch_size=0"),
        ({"batch_size": True}, "Received: batch_size=True"),
        ({"seed": -1}, "`seed` must be an integer >= 0"),
        ({"start_epoch": 1.5}, "`start_epoch` must be an integer >= 0"),
        ({"augment": "mixup"}, "Received: augment='mixup'"),
        ({"batch_size": 38, "drop_remainder": True}, "too small for one batch: it has 37 samples"),
        ({"y": np.zeros(3)}, "arrays of the same length"),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0)}, "too small for one batch"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    x, y = arrays()
    with pytest.raises(ValueError, match=message):
        ShuffledBatches(**{"x": x, "y": y, "batch_size": 5, **kwargs})


def test_a_batch_that_is_not_there_and_images_without_channels():
    x, y = arrays()
    with pytest.raises(IndexError, match="There are 8 batches. Received: index=8"):
        ShuffledBatches(x, y, 5)[8]
    with pytest.raises(ValueError, match="needs images of shape"):
        ShuffledBatches(x, y, 5, augment="crop_flip")[0]
