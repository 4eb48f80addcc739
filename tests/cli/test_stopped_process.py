"""Runs in processes of their own, stopped by a signal in the middle of an epoch and resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from rich.console import Console

from keraslip.cli.run_folder import BEST, LAST, STATE, RunFolder
from keraslip.cli.settings import Settings
from keraslip.cli.training import train
from tests.cli.few_digits import few_digits

#: On every backend a run goes on exactly in tests/cli/test_cli.py, and in another process in
#: tests/models/test_saving.py.
pytestmark = pytest.mark.any_backend("signals and what is left in the folder")
ROOT = Path(__file__).parents[2]
OPTIONS = ["--application", "digits_2c2f", "--epochs", "3", "--batch-size", "20"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run without a stop."""
    folder = RunFolder(tmp_path_factory.mktemp("whole"))
    given = {"application": "digits_2c2f", "epochs": 3, "batch_size": 20}
    train(Settings.resolve(given), few_digits(), folder, Console(quiet=True))
    return folder


def start(out, *options, **variables):
    """`keraslip train` on a few digits; what it prints goes to a file beside its folder."""
    environment = {
        # What one process has compiled, the next need not.
        "JAX_COMPILATION_CACHE_DIR": str(out.with_name("compiled")),
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        **variables,
    }
    # A pipe that nobody reads would fill up and hold the process.
    with out.with_name("printed").open("w") as printed:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.cli.few_digits", "train", "--out", str(out)]
            + ["--attack-samples", "0", *options],
            cwd=ROOT,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )


def stopped(out, number):
    """Exit status and output of a run that gets a signal in its second epoch."""
    here = out.with_name("here")
    process = start(out, *OPTIONS, STOP_HERE=str(here))
    try:
        while not here.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        status = process.wait()
    finally:
        process.kill()
    output = out.with_name("printed").read_text()
    assert here.exists(), output
    return status, output


def resumed(out):
    """Output of the run that goes on."""
    status = start(out, "--resume").wait()
    output = out.with_name("printed").read_text()
    assert status == 0, output
    return output


def assert_same_run(out, whole):
    """A folder holds what the run without a stop left."""
    found = RunFolder(out)
    assert found.read_json(STATE) == whole.read_json(STATE)
    assert [row["epoch"] for row in found.history()] == [1, 2, 3]
    for name in (LAST, BEST):
        ours, theirs = (
            keras.models.load_model(f.path / name).get_weights() for f in (found, whole)
        )
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_ctrl_c_keeps_the_finished_epochs_says_how_to_go_on_and_does(tmp_path, whole):
    out = tmp_path / "run"
    status, output = stopped(out, signal.SIGINT)
    assert status == 130
    assert f"keraslip train --out {out} --resume" in " ".join(output.split())
    assert "Traceback" not in output
    kept = RunFolder(out)
    assert kept.read_json(STATE)["epochs_done"] == 1 and len(kept.history()) == 1

    output = resumed(out)
    assert "epoch 1/3" not in output and "epoch 3/3" in output
    assert_same_run(out, whole)


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_epoch(tmp_path, whole):
    out = tmp_path / "run"
    status, _ = stopped(out, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert RunFolder(out).read_json(STATE)["epochs_done"] == 1
    resumed(out)
    assert_same_run(out, whole)
