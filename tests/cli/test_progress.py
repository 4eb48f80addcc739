"""Progress on terminals of 80 and 60 columns, and in a log file."""

import io
import re

import keras
import numpy as np
import pytest
from rich.console import Console

import keraslip
from keraslip import progress
from keraslip.certify.run.progress import Told
from keraslip.cli.progress import EpochBar
from keraslip.progress import Stages, stages

pytestmark = pytest.mark.any_backend("what a terminal shows")
LOGS = {
    "loss": 11.047,
    "epsilon": 0.238,
    "val_loss": 1.0,
    "val_accuracy": 0.924,
    "val_certified_accuracy": 0.618,
}
TIME = r"\d:\d\d:\d\d"


def terminal(width):
    return Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)


def log_file():
    return Console(width=60, file=io.StringIO())


def screen(console):
    """The lines that stand on a terminal at the end; every bar is drawn where the last one was."""
    text = console.file.getvalue().rpartition("\x1b[2K")[2]
    return re.sub(r"\x1b\[[?\d]*[a-zA-Z]", "", text).rstrip().splitlines()


def epochs(console):
    """A run of 75 epochs that is in its twelfth."""
    bar = EpochBar(console)
    bar.set_params({"steps": 2, "epochs": 75})
    bar.on_train_begin()
    for epoch in range(12):
        bar.on_epoch_begin(epoch)
        bar.on_train_batch_end(0)
        if epoch < 11:
            bar.on_epoch_end(epoch, LOGS)
    bar.bar.refresh()
    bar.stop()
    return bar


@pytest.mark.parametrize("width", [80, 60])
def test_training_shows_bar_times_and_certified_accuracy(width):
    console = terminal(width)
    epochs(console)
    lines = screen(console)
    assert all(len(line) <= width for line in lines) and len(lines) <= 3
    assert lines[0].startswith("training ━") and "epoch 12/75" in lines[0]
    assert len(re.findall(TIME, lines[0])) >= 1 and "left" in lines[0] and "…" not in lines[0]
    words = " ".join(" ".join(lines[1:]).split())
    assert "loss 11.047, epsilon 0.238" in words
    assert "clean 92.4%, certified (estimate) 61.8%" in words


def test_training_in_a_log_file_is_a_plain_line_for_each_epoch():
    console = log_file()
    epochs(console)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 11 and lines[2].startswith("epoch 3/75: loss 11.047, epsilon 0.238")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f━]", console.file.getvalue())


@pytest.mark.parametrize("width", [80, 60])
def test_certification_shows_the_layer_of_the_norms(width):
    console = terminal(width)
    with stages("certify", True, console) as shown:
        told = Told(shown)
        told.expect(10_000)
        told("slopes", 5230)
        told("global norms: layer 3 of 14, convolution_7", 0)
        shown.bar.refresh()
    first, second = screen(console)
    assert max(map(len, (first, second))) <= width
    assert first.startswith("certify ━") and "5230/10000" in first and re.search(TIME, first)
    assert second.strip() == "global norms: layer 3 of 14, convolution_7"


def test_stages_in_a_log_file_are_plain_lines(monkeypatch):
    console = log_file()
    with stages("certify", True, console) as shown:
        told = Told(shown)
        told.expect(40)
        told("slopes", 30)
        told("slopes", 5)  # the same stage a moment later says nothing
        told("attack", 5)
        monkeypatch.setattr(progress, "PAUSE", 0.0)
        told("attack", 0)
    assert console.file.getvalue().splitlines() == [
        "certify 30/40: anchored slopes; 30 certified",
        "certify 40/40: attack on what is open; 35 certified",
        "certify 40/40: attack on what is open; 35 certified",
    ]


def test_nothing_is_shown_unasked(capsys):
    for verbose in (False, "auto"):  # no terminal here
        with stages("certify", verbose) as shown:
            assert isinstance(shown, Stages)
            shown("global norms", 3)
    assert capsys.readouterr().out == ""


def test_certify_tells_each_layer_once(capsys):
    inputs = keras.Input((4,))
    x = keraslip.layers.MaskedLipschitzDense(5)(inputs)
    x = keraslip.layers.ClippedReLU(threshold=1.0, name="first")(x)
    model = keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(3)(x))
    x = np.random.default_rng(0).uniform(size=(6, 4)).astype("float32")
    model.certify(x, epsilon=0.1, verbose=True)
    said = capsys.readouterr().out
    assert "global norms: layer 1 of 2, first" in said
    assert "global norms: layer 2 of 2, logits" in said
    model.certify(x, epsilon=0.1, verbose=True)
    assert "layer 1" not in capsys.readouterr().out  # they are known
