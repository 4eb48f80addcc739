"""The unit of a radius is said, and data that were scaled outside the model are seen."""

from types import SimpleNamespace

import numpy as np
import pytest

from keraslip import datasets
from keraslip.cli.subject import Subject
from keraslip.cli.units import mismatch, unit

pytestmark = pytest.mark.any_backend("what is said of numbers")


def data_of(x):
    """A data set with these samples in every part."""
    y = np.arange(len(x), dtype="int32") % 2
    return datasets.Dataset(x, y, x, y, x, y, "mine.npz", ("a", "b"))


@pytest.mark.parametrize(
    ("expected", "scale", "shift", "told"),
    [
        ((0.0, 1.0), 1.0, 0.0, False),
        (None, 3.0, -1.0, False),
        ((-2.0, 9.0), 3.0, -1.0, False),
        ((0.0, 1.0), 3.0, -1.0, True),  # normalised outside
        ((-1.0, 1.0), 1.0, 0.0, True),  # trained on [-1, 1], where a radius is twice as long
        ((0.0, 255.0), 1.0, 0.0, True),
    ],
)
def test_data_outside_of_what_the_model_was_compiled_for_are_told(expected, scale, shift, told):
    x = np.linspace(0, 1, 12, dtype="float32").reshape(4, 3) * scale + shift
    model = SimpleNamespace(compiled=True, input_range=expected)
    words = mismatch(model, data_of(x), x)
    assert (words is not None) == told
    assert unit(x) == f"L2, raw input units, inputs from {shift:g} to {scale + shift:g}"
    if told:
        assert f"mine.npz lie from {shift:g} to {scale + shift:g}" in words
    assert mismatch(SimpleNamespace(compiled=False), data_of(x), x) is None


def test_the_command_line_hands_data_on_as_they_are(monkeypatch):
    digits = datasets.load("digits")
    assert digits.x_test.min() == 0.0 and digits.x_test.max() == 1.0
    model = SimpleNamespace(
        compiled=True, input_range=(-1.0, 1.0), epsilon_value=0.5,
        inputs=[np.zeros((1, 8, 8, 1))], outputs=[np.zeros((1, 10))],
    )  # fmt: skip
    monkeypatch.setattr("keraslip.cli.subject.model_file", lambda path: path)
    monkeypatch.setattr("keraslip.cli.subject.load_any", lambda path: model)
    monkeypatch.setattr("keraslip.cli.subject.as_bounded", lambda model, path: model)
    subject = Subject.load("m.keras", "digits", "test", None, 3, None)
    np.testing.assert_array_equal(subject.x, digits.x_test[:3])
    assert "from -1 to 1 (input_range)" in subject.mismatch
    assert "epsilon 0.5 (L2, raw input units, inputs from 0 to 1)" in str(subject)
