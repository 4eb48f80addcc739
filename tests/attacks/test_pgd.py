import gc
import weakref

import keras
import numpy as np
import pytest

from keraslip.attacks import accuracy_under_attack, pgd_l2
from keraslip.attacks.margin import margin_gradient


def dense(*widths, inputs=6, activation=None):
    layers = [keras.layers.Dense(width, activation=activation) for width in widths[:-1]]
    return keras.Sequential([keras.Input((inputs,)), *layers, keras.layers.Dense(widths[-1])])


def data(samples=40, inputs=6, seed=0):
    return np.random.default_rng(seed).uniform(size=(samples, inputs)).astype("float32")


def predict(model, x):
    return model.predict(x, verbose=0, batch_size=len(x)).argmax(axis=1)


def distances(model, x):
    """Distance of every input to every class of a linear net, `(batch, classes)`; own class 0."""
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    logits, label = x @ kernel + bias, predict(model, x)
    gap = logits[np.arange(len(x)), label][:, None] - logits
    norm = np.linalg.norm(kernel[:, None, :] - kernel[:, label, None], axis=0)
    return gap / np.maximum(norm, 1e-12), label


def nearest(model, x):
    distance, label = distances(model, x)
    distance[np.arange(len(x)), label] = np.inf
    return distance.min(axis=1), label


def length(adversarial, x):
    return np.linalg.norm((adversarial.astype("float64") - x).reshape(len(x), -1), axis=1)


def test_linear_net_falls_just_above_its_distance_and_not_below():
    model, x = dense(4), data()
    distance, label = nearest(model, x)
    # One run for each class: the class with the largest logit is not always the nearest.
    above = pgd_l2(model, x, label, distance * 1.01, steps=40, restarts=4, input_range=None)
    below = pgd_l2(model, x, label, distance * 0.99, steps=40, restarts=4, input_range=None)
    assert (predict(model, above) != label).all()
    assert (predict(model, below) == label).all()
    assert above.dtype == np.float32 and above.shape == x.shape
    assert (length(above, x) <= distance * 1.01).all()
    # Where it fails it still is as near to the boundary as the ball allows.
    np.testing.assert_allclose(nearest(model, below)[0], 0.01 * distance, rtol=0.05, atol=1e-5)


def test_targets_of_a_linear_net():
    model, x = dense(4), data()
    distance, label = distances(model, x)
    targets = (label + 1) % 4
    wanted = distance[np.arange(len(x)), targets]
    # Equal logits of several classes cannot happen here: only the target may win the last bit.
    hit = pgd_l2(model, x, label, 3 * wanted.max(), targets=targets, input_range=None, steps=200)
    logits = model.predict(hit, verbose=0)
    gain = logits[np.arange(len(x)), targets] - model.predict(x, verbose=0)[range(40), targets]
    assert (logits.argmax(axis=1) == targets).mean() > 0.5 and (gain > -1e-4).all()
    missed = pgd_l2(model, x, None, wanted * 0.99, targets=targets, input_range=None)
    assert (predict(model, missed) != targets).all()


def test_ball_and_range_hold_for_images_with_restarts():
    layers = keras.layers
    stack = [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(5)]
    model = keras.Sequential([keras.Input((6, 6, 1)), *stack])
    x = np.round(data(25, 36).reshape(25, 6, 6, 1) * 3) / 3  # many pixels at 0 and 1
    x = x.astype("float32")
    epsilon = np.linspace(0, 2, 25)
    result = pgd_l2(model, x, predict(model, x), epsilon, steps=15, restarts=3, batch_size=8)
    assert result.min() >= 0 and result.max() <= 1
    assert (length(result, x) <= epsilon).all()
    np.testing.assert_array_equal(result[0], x[0])


def test_more_work_is_never_worse():
    model, x = dense(32, 32, 4, activation="relu"), data(60)
    label = predict(model, x)

    def fooled(**options):
        return (predict(model, pgd_l2(model, x, label, 0.25, **options)) != label).mean()

    once = fooled(steps=20)
    assert 0 < once < 1
    assert fooled(steps=20, restarts=4) >= once


def test_fooled_inputs_stay():
    model, x = dense(3), data()
    wrong = (predict(model, x) + 1) % 3
    np.testing.assert_array_equal(pgd_l2(model, x, wrong, 0.3), x)


def test_constant_and_nan_nets_leave_x():
    x = data(5)
    model = dense(3)
    model.set_weights([np.zeros((6, 3)), np.array([1.0, 0.0, 0.0])])
    np.testing.assert_array_equal(pgd_l2(model, x, np.zeros(5, int), 1, steps=5, restarts=2), x)
    model.set_weights([np.full((6, 3), np.nan), np.zeros(3)])
    np.testing.assert_array_equal(pgd_l2(model, x, np.zeros(5, int), 1, steps=5), x)
    assert accuracy_under_attack(model, x, np.zeros(5, int), 1, steps=2) == 0


def test_flat_start_is_left_by_a_random_direction():
    """At x no ReLU is active, so there is no gradient; a kink is a little way off."""
    model = dense(2, 2, inputs=2, activation="relu")
    slopes = np.array([[1.0, 0.0], [0.0, 1.0]])
    out = np.array([[-1.0, 1.0], [-1.0, 1.0]])
    model.set_weights([slopes, np.full(2, -0.55), out, np.array([0.01, 0.0])])
    x = np.full((8, 2), 0.5, "float32")
    result = pgd_l2(model, x, np.zeros(8, int), 0.3)
    assert (predict(model, result) == 1).mean() >= 0.5


def test_batch_size_and_order_do_not_matter():
    model, x = dense(16, 4, activation="tanh"), data(23)
    label = predict(model, x)
    options = {"steps": 5, "restarts": 2, "seed": 3}
    one = pgd_l2(model, x, label, 0.05, batch_size=23, **options)
    np.testing.assert_array_equal(one, pgd_l2(model, x, label, 0.05, batch_size=23, **options))
    np.testing.assert_allclose(
        one, pgd_l2(model, x, label, 0.05, batch_size=4, **options), atol=1e-4
    )


def test_global_random_state_is_untouched():
    model, x = dense(3), data(4)
    np.random.seed(0)
    expected = np.random.RandomState(0).uniform()
    pgd_l2(model, x, np.zeros(4, int), 0.1, steps=2, restarts=2)
    assert np.random.uniform() == expected


def test_new_weights_count_and_models_are_released():
    model, x = dense(3), data(10)
    pgd_l2(model, x, np.zeros(10, int), 0.1, steps=2)
    model.set_weights([-w for w in model.get_weights()])
    label = predict(model, x)
    np.testing.assert_array_equal(pgd_l2(model, x, (label + 1) % 3, 0.1, steps=2), x)
    compiled, alive = weakref.ref(margin_gradient(model)), weakref.ref(model)
    del model
    gc.collect()
    if alive() is None:  # Keras' own caches may hold a model a little longer
        assert compiled() is None


def test_compiled_range_of_the_model_is_the_default():
    class Ranged(keras.Sequential):
        input_range = (-1.0, 1.0)

    model, x = Ranged([keras.Input((6,)), keras.layers.Dense(3)]), 2 * data() - 1
    with pytest.raises(ValueError, match="input range"):
        pgd_l2(model, x, np.zeros(40, int), 0.1, steps=1)  # not compiled: (0, 1)
    model.compile()
    assert pgd_l2(model, x, predict(model, x), 3, steps=5).min() >= -1
    model.input_range = None
    assert np.abs(pgd_l2(model, x, predict(model, x), 9, steps=5)).max() > 1


@pytest.mark.parametrize("verbose", [True, 1, "auto", 0])
def test_progress_bar(verbose, capsys):
    model, x = dense(3), data(4)
    pgd_l2(model, x, predict(model, x), 0.01, steps=3, verbose=verbose)
    assert ("4/4" in capsys.readouterr().out) == (verbose in (True, 1))


def test_accepts_lists_columns_and_no_samples():
    model, x = dense(3), data(4)
    expected = pgd_l2(model, x, np.array([0, 1, 2, 0]), 1)
    np.testing.assert_array_equal(pgd_l2(model, x.tolist(), [0, 1, 2, 0], 1), expected)
    np.testing.assert_array_equal(
        pgd_l2(model, keras.ops.convert_to_tensor(x), np.array([[0], [1], [2], [0]]), 1.0), expected
    )
    assert pgd_l2(model, x[:0], np.zeros(0, int), 1).shape == (0, 6)


def test_accuracy_under_attack_falls_with_epsilon():
    model, x = dense(16, 4, activation="relu"), data(50)
    label = predict(model, x)
    curve = [accuracy_under_attack(model, x, label, e, steps=10) for e in (0, 0.05, 0.3, 2)]
    assert curve[0] == 1 and curve[-1] < 1
    assert all(a >= b for a, b in zip(curve, curve[1:], strict=False))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epsilon": -0.1}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"epsilon": float("inf")}, "epsilon"),
        ({"epsilon": "0.1"}, "epsilon"),
        ({"epsilon": True}, "epsilon"),
        ({"epsilon": None}, "epsilon"),
        ({"epsilon": [0.1, 0.2]}, "epsilon"),
        ({"y": [0, 1, 2, 3]}, "y"),
        ({"y": [0, 1, 2, -1]}, "y"),
        ({"y": [0.0, 1.0, 2.0, 0.0]}, "y"),
        ({"y": [0, 1]}, "y"),
        ({"y": np.eye(4, 3, dtype=int)}, "y"),
        ({"targets": [0, 1, 2, 3]}, "targets"),
        ({"x": np.full((4, 6), np.nan)}, "finite"),
        ({"x": np.full((4, 6), 1.5)}, "input range"),
        ({"x": np.full((4, 6), -0.5)}, "input range"),
        ({"x": np.zeros(6)}, "shape"),
        ({"input_range": (1, 0)}, "input_range"),
        ({"input_range": "unit"}, "input_range"),
        ({"steps": 0}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"restarts": 0}, "restarts"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"step_size": -1.0}, "step_size"),
        ({"step_size": "big"}, "step_size"),
    ],
)
def test_bad_input_gets_a_clear_error(change, message):
    arguments = {"x": data(4), "y": [0, 1, 2, 0], "epsilon": 0.1, **change}
    with pytest.raises(ValueError, match=rf"{message}.*Received: ") as error:
        pgd_l2(dense(3), **arguments)
    assert "Received" in str(error.value)


def test_output_that_is_not_logits():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="logits"):
        pgd_l2(model, data(4), np.zeros(4, int), 0.1)


@pytest.mark.parametrize("fused", [True, False])
def test_behind_a_saturated_softmax_the_logits_are_attacked(fused):
    x = data()
    end = {"activation": "softmax"} if fused else {}
    tail = [] if fused else [keras.layers.Softmax()]
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, **end), *tail])
    for factor in (1000.0, 2.0):  # an attack is about the weights as they are now
        kernel, bias = model.get_weights()
        model.set_weights([factor * kernel, bias])
        distance, label = nearest(model, x)
        found = pgd_l2(model, x, label, distance * 1.05, restarts=4, input_range=None)
        assert (predict(model, found) != label).mean() > 0.9
