"""Schedules against NumPy's interpolation, their ends, and their configuration."""

import keras
import numpy as np
import pytest

from keraslip.schedules import (
    Constant,
    LinearRamp,
    PiecewiseLinear,
    Schedule,
    at_progress,
    current,
)

SCHEDULES = {
    "constant": Constant(0.3),
    "ramp": LinearRamp(0.0, 1.1 * 36 / 255),
    "late ramp": LinearRamp(1.0, 0.0, begin=0.3, until=0.8),
    "pieces": PiecewiseLinear([0.1, 0.2, 0.7], [0.5, 1.75, -0.25]),
    "one point": PiecewiseLinear([0.5], [2.0]),
}


def at(schedule, progress):
    return float(keras.ops.convert_to_numpy(schedule(progress)))


@pytest.mark.parametrize("name", SCHEDULES)
def test_values_are_straight_lines_between_the_points(name):
    schedule = SCHEDULES[name]
    for progress in np.linspace(-0.2, 1.2, 57):
        expected = np.interp(progress, schedule.positions, schedule.values)
        assert at(schedule, progress) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_ends_are_held_exactly(name):
    schedule = SCHEDULES[name]
    last = np.float32(schedule.positions[-1])
    for progress in [last, np.nextafter(last, np.float32(2)), 1.0, 7.0, 1e30]:
        assert at(schedule, progress) == np.float32(schedule.values[-1])
    first = np.float32(schedule.positions[0])
    for progress in [-1.0, 0.0, np.nextafter(first, np.float32(-1))]:
        assert at(schedule, progress) == np.float32(schedule.values[0])


def test_no_ramp_leaves_the_range_of_its_ends():
    # Thirds and tenths are not exact in float32: rounded lines would overshoot.
    ramp = LinearRamp(0.0, 0.1, begin=0.1, until=1 / 3)
    values = [at(ramp, p) for p in np.linspace(0, 1, 1501)]
    assert min(values) == 0.0 and max(values) == np.float32(0.1)
    assert all(a <= b for a, b in zip(values, values[1:], strict=False))


def test_the_value_is_a_scalar_float32_tensor():
    for schedule in SCHEDULES.values():
        for progress in (0.4, keras.ops.convert_to_tensor(np.float32(0.4)), 0, 1):
            out = schedule(progress)
            assert tuple(out.shape) == ()
            assert keras.backend.standardize_dtype(out.dtype) == "float32"


def test_current_reads_the_progress_of_the_run():
    ramp = LinearRamp(0.0, 1.0, until=1.0)
    assert float(current(ramp)) == 1.0
    with at_progress(0.25):
        assert float(current(ramp)) == 0.25
        with at_progress(0.75):
            assert float(current(ramp)) == 0.75
        assert float(current(ramp)) == 0.25
    assert float(current(ramp)) == 1.0
    assert current(0.4) == 0.4


def test_progress_is_restored_after_an_error():
    with pytest.raises(KeyError), at_progress(0.5):
        raise KeyError
    assert float(current(LinearRamp(0.0, 1.0))) == 1.0


@pytest.mark.parametrize("name", SCHEDULES)
def test_configs_and_serialisation_go_round(name):
    schedule = SCHEDULES[name]
    for again in (
        type(schedule).from_config(schedule.get_config()),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule)),
    ):
        assert type(again) is type(schedule)
        assert again.get_config() == schedule.get_config()
        assert (again.positions, again.values) == (schedule.positions, schedule.values)


@pytest.mark.parametrize(
    ("positions", "values"),
    [
        ([], []),
        ([0.0, 0.0], [1, 2]),
        ([0.5, 0.2], [1, 2]),
        ([0.0, 1.5], [1, 2]),
        ([-0.1, 0.5], [1, 2]),
        ([0.0, 0.5], [1]),
        ([0.0, float("nan")], [1, 2]),
        ([0.0, 0.5], [1, float("nan")]),
        ([0.0, 0.5], [1, float("inf")]),
    ],
    ids=repr,
)
def test_bad_points_are_refused(positions, values):
    with pytest.raises(ValueError, match="Received"):
        PiecewiseLinear(positions, values)


@pytest.mark.parametrize("until", [0.0, -0.5, 1.5])
def test_a_ramp_must_end_after_it_begins_and_within_the_run(until):
    with pytest.raises(ValueError, match=f"begin < until <= 1.*until={until}"):
        LinearRamp(0.0, 1.0, until=until)


def test_a_schedule_of_ones_own_overrides_value_at():
    class Squared(Schedule):
        def value_at(self, progress):
            return progress * progress

        def get_config(self):
            return {}

    assert at(Squared(), 0.5) == 0.25
    assert at(Squared(), 3.0) == 1.0
    with pytest.raises(TypeError):
        Schedule()
