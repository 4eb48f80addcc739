"""Warnings of a training are one line, with remedies that the command has and the run does not use."""

import io
import sys
import warnings
from pathlib import Path

import pytest
from rich.console import Console

from keraslip.cli.demo import _advice
from keraslip.cli.settings import Settings
from keraslip.cli.training import advice
from keraslip.cli.warned import training_warnings
from keraslip.cli.wording import command
from keraslip.models.callbacks import TrainingWarning


def test_a_warning_is_a_line_with_the_remedy_of_the_command():
    written = io.StringIO()
    with training_warnings(Console(file=written, width=60), "Begin again with more --epochs."):
        warnings.warn(TrainingWarning("Nothing was learned.", "Pass epsilon=..."), stacklevel=1)
        with pytest.raises(UserWarning, match="another"):  # an error in tests, as everywhere
            warnings.warn("another", stacklevel=1)
    assert written.getvalue() == "warning: Nothing was learned. Begin again with more --epochs.\n"


@pytest.mark.parametrize("loss, offered", [("gloro", False), ("bcp", True), ("trades", True)])
def test_the_loss_in_use_is_not_offered(loss, offered):
    said = advice(Settings.resolve({"application": "digits_2c2f", "loss": loss}))
    assert ("--loss gloro" in said) == offered and "--epochs" in said and "--epsilon" in said


@pytest.mark.parametrize("epochs, remedy", [(1, "--epochs"), (150, "--seed")])
def test_the_demo_offers_only_what_it_has(epochs, remedy):
    said = _advice(Settings.resolve({"application": "digits_2c2f", "epochs": epochs}))
    assert remedy in said and said.count("--") == 1


def test_commands_to_type_are_quoted_and_keep_backend_and_data(monkeypatch):
    run = Path("my run")
    assert command("report", run) == "keraslip report 'my run'"
    monkeypatch.setattr(sys, "argv", ["keraslip", "--backend", "jax", "train"])
    said = command("train", "--out", run, "--resume", data_dir=Path("/data"))
    assert said == "keraslip --backend jax train --out 'my run' --resume --data-dir /data"
