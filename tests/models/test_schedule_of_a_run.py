"""Where a run stands: epsilon and kappa over fit, second fits, resumed fits, and outside fit."""

import keras
import numpy as np
import pytest

from keraslip.losses import BCPLoss
from keraslip.schedules import LinearRamp, PiecewiseLinear
from tests.models.nets import EPSILON, FIT_LOGS, compiled, dense_net, ready, samples, weights_of

RAMP = PiecewiseLinear([0.0, 0.3, 0.6], [0.0, 0.07, 0.13])
STEPS = 3


def model_with(**kwargs):
    return ready(train_epsilon=RAMP, **kwargs)


def run(model, **kwargs):
    x, y = samples()
    return model.fit(x, y, batch_size=8, verbose=0, **kwargs).history


def expected(epochs, first=0):
    """Mean of the schedule over the steps of each epoch."""
    at = np.arange(epochs * STEPS) / (epochs * STEPS)
    values = np.interp(at, RAMP.positions, RAMP.values)
    return values.reshape(epochs, STEPS).mean(axis=1)[first:]


def test_epsilon_in_the_logs_is_the_schedules_and_in_validation_the_compiled_one():
    x, y = samples()
    model = model_with()
    history = run(model, epochs=5, validation_data=(x, y))
    np.testing.assert_allclose(history["epsilon"], expected(5), rtol=1e-5)
    assert history["val_epsilon"] == [np.float32(EPSILON)] * 5
    assert model.evaluate(x, y, return_dict=True, verbose=0)["epsilon"] == np.float32(EPSILON)
    assert model.epsilon_value == EPSILON


def test_a_second_fit_is_a_new_run():
    model = model_with()
    first = run(model, epochs=2)["epsilon"]
    assert run(model, epochs=2)["epsilon"] == first
    np.testing.assert_allclose(run(model, epochs=4)["epsilon"], expected(4), rtol=1e-5)


def test_initial_epoch_goes_on_where_the_run_stood():
    model = model_with()
    run(model, epochs=2)
    history = run(model, initial_epoch=2, epochs=5)
    np.testing.assert_allclose(history["epsilon"], expected(5, first=2), rtol=1e-5)


def test_default_epsilon_ramps_to_a_little_over_the_target_and_holds():
    model = compiled(dense_net())
    history = run(model, epochs=4)
    steps = np.minimum(np.arange(12) / 6, 1.0) * 1.1 * EPSILON
    np.testing.assert_allclose(history["epsilon"], steps.reshape(4, 3).mean(1), rtol=1e-5)


def test_a_loss_in_units_of_epsilon_has_the_whole_of_it_at_once():
    model = compiled(dense_net(), loss="calibrated_lipschitz_margin")
    assert float(model.train_epsilon(0.0)) == float(model.train_epsilon(1.0)) == pytest.approx(0.11)


def test_the_end_value_is_reached_exactly_and_held():
    x, y = samples()
    model = compiled(dense_net(), epsilon=36 / 255)
    # One step an epoch: the log is the value itself, not a rounded mean.
    history = model.fit(x, y, batch_size=24, epochs=9, verbose=0).history
    assert history["epsilon"][0] == 0.0
    assert history["epsilon"][5:] == [np.float32(1.1 * 36 / 255)] * 4
    assert history["epsilon"][4] < history["epsilon"][5]


@pytest.mark.parametrize("length", [1, 2])
def test_very_short_runs_train(length):
    assert set(run(model_with(), epochs=length)) == FIT_LOGS


# A learning rate of 0 is stuck, as it should be.
@pytest.mark.filterwarnings("ignore:Training is stuck:UserWarning")
def test_kappa_falls_within_a_fit_and_is_at_its_end_outside():
    """The loss of a step is that of the mixture at the step's own kappa."""
    x, y = samples(8)
    kappa = LinearRamp(1.0, 0.25, begin=0.25, until=0.75)

    def frozen(net, kappa):
        return compiled(net, keras.optimizers.SGD(0.0), loss=BCPLoss(kappa), train_epsilon=0.1)

    model = frozen(dense_net(), kappa)
    fixed = {k: frozen(keras.models.clone_model(model), k) for k in (0.0, 1.0)}
    clean, worst = (_loss_after(fixed[k], model, x, y) for k in (1.0, 0.0))
    assert worst > clean + 1e-3

    history = model.fit(x, y, batch_size=8, epochs=8, verbose=0, shuffle=False).history
    weight = np.interp(np.arange(8) / 8, [0.25, 0.75], [1.0, 0.25])
    np.testing.assert_allclose(history["loss"], weight * clean + (1 - weight) * worst, rtol=2e-3)
    # Outside a run at the end value, in training steps too.
    end = 0.25 * clean + 0.75 * worst
    model.reset_metrics()
    logs = model.train_on_batch(x, y, return_dict=True)
    assert logs["loss"] == pytest.approx(end, rel=2e-3)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(end, rel=2e-3)


def _loss_after(other, model, x, y):
    other.set_weights(model.get_weights())
    other.run_state.epsilon.assign(EPSILON)
    for _ in range(20):  # the shared start converges
        other.reset_metrics()
        logs = other.train_on_batch(x, y, return_dict=True)
    model.set_weights(other.get_weights())
    return logs["loss"]


def test_train_on_batch_outside_a_run_uses_the_end_of_the_schedule():
    x, y = samples(8)
    model = model_with()
    assert model.train_on_batch(x, y, return_dict=True)["epsilon"] == np.float32(0.13)
    run(model, epochs=2)
    model.reset_metrics()
    assert model.train_on_batch(x, y, return_dict=True)["epsilon"] == np.float32(0.13)


def test_an_interrupted_fit_leaves_the_schedule_at_its_end():
    x, y = samples(8)
    model = model_with()

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, epochs=3, callbacks=[Interrupt()])
    model.reset_metrics()
    assert model.train_on_batch(x, y, return_dict=True)["epsilon"] == np.float32(0.13)


def test_evaluate_changes_no_weight():
    x, y = samples()
    model = model_with()
    run(model, epochs=1)
    before = weights_of(model)
    model.evaluate(x, y, batch_size=8, verbose=0)
    model.predict(x, verbose=0)
    model.estimate(x, y)
    for a, b in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_validation_in_fit_changes_no_weight():
    x, y = samples()
    with_it, without = model_with(), model_with()
    run(with_it, epochs=2, shuffle=False, validation_data=(x, y))
    run(without, epochs=2, shuffle=False)
    for a, b in zip(weights_of(with_it), weights_of(without), strict=True):
        np.testing.assert_array_equal(a, b)
